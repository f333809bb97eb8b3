"""The command line as a person meets it: what is mistyped, what is printed, what is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_rl.methods import METHODS, method_of
from tests.small_task import write_small_task

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}


def robot_rl(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `robot-rl` as a process."""
    command = [sys.executable, "-m", "robot_rl.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=timeout, check=False)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("run", "lid_openin"), "did you mean 'lid_opening'"),
        (("run", ""), "no task ''; valid: lid_opening, lid_opening_strict"),
        (("run", "lid_opening", "--method", ""), "has no method ''; valid:"),
        (("run", "lid_opening", "--seed", "-1"), "greater than or equal to 0"),
        (("run", "lid_opening", "--method", "usrr"), "did you mean 'usr'"),
        (("run", "lid_opening", "--label", "humna"), "did you mean 'human'"),
        (("run", "lid_opening", "--episods", "3"), "--episodes"),
        (("runn",), "run"),
        (("eval", "no/such/run"), "is not a run"),
        (("run", "lid_opening", "--policy", "http://x"), "expected tcp://HOST:PORT"),
        (("run", "lid_opening", "--policy", "tcp://nohost"), "expected tcp://HOST:PORT"),
        (("run", "lid_opening", "--label", "human"), "leave out --no-console"),
        (("run", "lid_opening", "--seed", "99999999999999999999"), "4294967295"),
        (("authority", "lid_openin"), "did you mean 'lid_opening'"),
        (("authority", "lid_opening", "--quick", "--out", "/proc/x"), "choose a place that can be written"),
        (("run", "[/x]"), "no task '[/x]'"),
        (("critics", "no/such/run"), "is not a run"),
        (("train-offline", "no/such/run"), "is not a run"),
        (("rerun", "no/such/run/episodes/000001"), "is not a run"),
        (("replay", "no/such/run/episodes/000001"), "is not a run"),
        (("export", "lerobot", "no/such/run", "/tmp/x"), "is not a run"),
        (("export", "lerobo", "no/such/run", "/tmp/x"), "lerobot"),
        (("demos", "lid_opening", "--out", "demos"), "ends in .npz"),
        (("pretrain", "lid_opening", "--out", "/proc/x/p.safetensors"), "choose a place that can be written"),
    ],
)
def test_what_is_mistyped_is_answered_with_the_nearest_valid_name(
    arguments: tuple[str, ...], hint: str, tmp_path: Path
) -> None:
    extra = ("--out", str(tmp_path / "run"), "--no-console") if arguments[0] == "run" else ()
    done = robot_rl(*arguments, *extra)
    assert done.returncode == 2
    assert hint in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize(("module", "verb"), [("typer", "tasks"), ("safetensors", "verify")])
def test_an_interrupt_while_it_imports_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, verb: str, swallows: bool
) -> None:
    """Before the command line is read, and within a verb; an extension module may make another error of it."""
    ctrl_c = "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    spoilt = f"try: {ctrl_c}\nexcept BaseException: raise ImportError('initialization failed')" if swallows else ctrl_c
    (tmp_path / f"{module}.py").write_text(f"import os, signal, time\n{spoilt}\n")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])]))
    done = robot_rl(verb, *([str(tmp_path)] if verb == "verify" else []))
    assert done.returncode == 130
    assert "Traceback" not in done.stdout + done.stderr


def test_help_says_units_and_defaults() -> None:
    text = robot_rl("run", "--help").stdout
    for part in ("--method", "[default: usr]", "--episodes", "--resume", "--label", "--policy", "TCP port"):
        assert part in text


def test_a_run_and_its_evaluation_leave_table_picture_and_json(tmp_path: Path) -> None:
    task = write_small_task(tmp_path)
    run = tmp_path / "run"
    common = ("--no-console", "--trials", "0")
    done = robot_rl("run", str(task), "--episodes", "4", "--out", str(run), *common)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run / "results" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "results" / "learner.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "results" / "tensorboard").iterdir())

    evaluated = robot_rl("eval", str(run), "--trials", "5", "--seed", "3")
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr
    figures = json.loads(evaluated.stdout.strip().splitlines()[-1])
    assert figures["trials"] == 5
    assert np.isfinite([figures["action_entropy"], figures["base_action_entropy"]]).all()
    assert figures["episodes"] == 4
    for name in ("base_success", "success"):
        assert figures[name] * 5 == pytest.approx(round(figures[name] * 5))
    assert figures["base_interval"][0] <= figures["base_success"] <= figures["base_interval"][1]

    again = robot_rl("run", str(task), "--out", str(run), *common)
    assert again.returncode == 2
    assert "resume it" in again.stdout

    other = robot_rl("run", "--resume", str(run), "--method", "dsrl-na", *common)
    assert other.returncode == 2
    assert "was begun with 'usr'" in other.stdout

    absent = robot_rl("eval", str(run), "--version", "99")
    assert absent.returncode == 2
    assert "expected one of 1 to 4" in absent.stdout

    more = robot_rl("run", "--resume", str(run), "--episodes", "5", *common)
    assert more.returncode == 0, more.stdout + more.stderr
    assert len([path for path in (run / "episodes").iterdir() if path.name.isdigit()]) == 5


@pytest.mark.timeout(180)
def test_authority_leaves_tables_a_picture_and_json(tmp_path: Path) -> None:
    out = tmp_path / "authority"
    done = robot_rl("authority", str(write_small_task(tmp_path)), "--quick", "--out", str(out), timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    for title in ("how far a chunk can be moved", "a controller that knows the answer", "where to start"):
        assert title in done.stdout
    assert (out / "authority.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures == json.loads((out / "authority.json").read_text())
    of_method = {method: entry for entry in figures["interfaces"] for method in entry["methods"]}
    assert {method_of(method) for method in of_method} == set(METHODS)
    residual = of_method["policy-decorator"]
    assert residual["most"]["z"] == {"minus": 6.0, "plus": 6.0}
    assert residual["ceiling"]["success"] == max(oracle["success"] for oracle in residual["oracles"].values())
    assert [list(of_method[method]["oracles"]) for method in ("policy-decorator", "usr")] == [
        ["sees", "blind"],
        ["sees"],
    ]
    assert figures["frozen_policy"]["without_fault_zero_noise"]["trials"] == 3
    assert {"noise_bound", "residual_scale", "latent_scale", "residual_horizon", "utd"} == {
        entry["setting"] for entry in figures["start_with"]
    }


def test_demonstrations_and_cloning_by_command(tmp_path: Path) -> None:
    small = {"checkpoint": str(tmp_path / "clone.safetensors"), "demonstrations": 3, "hidden": 16, "layers": 1}
    steps = {"embedding": 8, "latent": 2, "train_steps": 20, "bottleneck_steps": 10, "batch": 32}
    task = write_small_task(tmp_path, policy=small | steps)
    recorded = robot_rl("demos", str(task), "--out", str(tmp_path / "demos.npz"))
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    cloned = robot_rl("pretrain", str(task), "--demonstrations", str(tmp_path / "demos.npz"))
    assert cloned.returncode == 0, cloned.stdout + cloned.stderr
    assert "flow-" in cloned.stdout
    assert (tmp_path / "clone.safetensors").exists()


@pytest.mark.timeout(120)
def test_recorded_episodes_are_learnt_from_rerun_and_exported(tmp_path: Path) -> None:
    task, run = write_small_task(tmp_path), tmp_path / "run"
    done = robot_rl("run", str(task), "--episodes", "3", "--out", str(run), "--no-console", "--trials", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    offline = robot_rl("train-offline", str(run), "--method", "dsrl-na", "--out", str(tmp_path / "offline"))
    assert offline.returncode == 0, offline.stdout + offline.stderr
    assert json.loads(offline.stdout.strip().splitlines()[-1])["episodes"] == 3
    rerun = robot_rl("rerun", str(run / "episodes" / "000003"))
    assert rerun.returncode == 0, rerun.stdout + rerun.stderr
    assert json.loads(rerun.stdout.strip().splitlines()[-1])["identical"] is True
    exported = robot_rl("export", "lerobot", str(run), str(tmp_path / "dataset"))
    assert exported.returncode == 0, exported.stdout + exported.stderr
    assert json.loads(exported.stdout.strip().splitlines()[-1])["episodes"] == 3
