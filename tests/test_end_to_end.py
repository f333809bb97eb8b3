"""Commands from beginning to end. They run two at a time: none of them is held to a deadline here.

A scenario is what a person would type, one command after the other; its test looks at what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.kill_loop import MOST_LOST_S, TURNS
from benchmarks.learner import QUICK_CELLS
from benchmarks.lid_opening import SHORT_EPISODES
from benchmarks.store import CHUNKS, QUICK_EPISODES, forget
from robot_rl.methods import METHODS, method_of
from robot_rl.store.run import RunDirectory
from tests.commands import Done, figures_of, module, robot_rl
from tests.small_task import write_small_task

KILLS = 20
LIMIT_S = 300.0
HEADLESS = ("--no-console", "--trials", "0")

Scenarios = Mapping[str, "Future[Any]"]


def kill_loop(folder: Path) -> Done:
    return module("benchmarks.kill_loop", "--kills", str(KILLS), timeout_s=LIMIT_S)


def trained(folder: Path) -> dict[str, Any]:
    """A run, and all that a person does with one afterwards."""
    task, run = write_small_task(folder), folder / "run"
    done: dict[str, Any] = {"run": robot_rl("run", str(task), "--episodes", "4", "--out", str(run), *HEADLESS)}
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.suffix in (".json", ".mcap")}
    done["critics"] = robot_rl("critics", str(run))
    done["changed"] = [path for path, content in kept.items() if path.read_bytes() != content]
    done["offline"] = robot_rl("train-offline", str(run), "--method", "dsrl-na", "--out", str(folder / "offline"))
    done["rerun"] = robot_rl("rerun", str(run / "episodes" / "000003"))
    done["export"] = robot_rl("export", "lerobot", str(run), str(folder / "dataset"))
    done["eval"] = robot_rl("eval", str(run), "--trials", "5", "--seed", "3")
    done["again"] = robot_rl("run", str(task), "--out", str(run), *HEADLESS)
    done["other"] = robot_rl("run", "--resume", str(run), "--method", "dsrl-na", *HEADLESS)
    done["absent"] = robot_rl("eval", str(run), "--version", "99")
    done["more"] = robot_rl("run", "--resume", str(run), "--episodes", "5", *HEADLESS)
    return done


def cloned(folder: Path) -> dict[str, Done]:
    small = {"checkpoint": str(folder / "clone.safetensors"), "demonstrations": 3, "hidden": 16, "layers": 1}
    steps = {"embedding": 8, "latent": 2, "train_steps": 20, "bottleneck_steps": 10, "batch": 32}
    task, demos = str(write_small_task(folder, policy=small | steps)), str(folder / "demos.npz")
    return {
        "demos": robot_rl("demos", task, "--out", demos),
        "pretrain": robot_rl("pretrain", task, "--demonstrations", demos),
    }


def authority(folder: Path) -> Done:
    out = str(folder / "authority")
    return robot_rl("authority", str(write_small_task(folder)), "--quick", "--out", out, timeout_s=LIMIT_S)


def short_benchmark(folder: Path) -> Done:
    small = ("--short", "--task", "lid_opening", "--method", "usr", "--out", str(folder))
    return module("benchmarks.lid_opening", *small, timeout_s=LIMIT_S)


def learner(folder: Path) -> Done:
    return module("benchmarks.learner", "--quick", timeout_s=LIMIT_S)


def ticks(folder: Path) -> Done:
    return module("benchmarks.ticks", "--minutes", "0.03", timeout_s=LIMIT_S)


def recording(folder: Path) -> Done:
    return module("benchmarks.recording", "--minutes", "0.05", timeout_s=LIMIT_S)


def store(folder: Path) -> Done:
    return module("benchmarks.store", "--quick", "--store", str(folder / "run"), timeout_s=LIMIT_S)


# The longest first; it waits for most of its time.
SCENARIOS: tuple[Callable[[Path], Any], ...] = (
    *(kill_loop, short_benchmark, trained, authority, learner, ticks, recording, cloned, store),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenarios")


@pytest.fixture(scope="module")
def scenarios(root: Path) -> Iterator[Scenarios]:
    """Their results, as they come; each has a folder of its name under `root`."""
    with ThreadPoolExecutor(2) as pool:
        begun = {}
        for scenario in SCENARIOS:
            (root / scenario.__name__).mkdir()
            begun[scenario.__name__] = pool.submit(scenario, root / scenario.__name__)
        yield begun
        for future in begun.values():
            future.cancel()


pytestmark = pytest.mark.timeout(2 * LIMIT_S)


def test_the_short_benchmark_of_learning(scenarios: Scenarios, root: Path) -> None:
    figures = figures_of(scenarios["short_benchmark"].result())
    assert figures["lid_opening_episodes"] == SHORT_EPISODES
    assert 0 <= figures["lid_opening_usr_mean"] <= 1
    assert (root / "short_benchmark" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_and_its_evaluation_leave_table_picture_and_json(scenarios: Scenarios, root: Path) -> None:
    done, run = scenarios["trained"].result(), root / "trained" / "run"
    assert done["run"].returncode == 0, done["run"].stdout + done["run"].stderr
    assert (run / "results" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "results" / "learner.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "results" / "tensorboard").iterdir())
    figures = figures_of(done["eval"])
    assert figures["trials"] == 5
    assert np.isfinite([figures["action_entropy"], figures["base_action_entropy"]]).all()
    assert figures["episodes"] == 4
    for name in ("base_success", "success"):
        assert figures[name] * 5 == pytest.approx(round(figures[name] * 5))
    assert figures["base_interval"][0] <= figures["base_success"] <= figures["base_interval"][1]


@pytest.mark.parametrize(
    ("command", "hint"),
    [("again", "resume it"), ("other", "was begun with 'usr'"), ("absent", "expected one of 1 to 4")],
)
def test_what_does_not_fit_the_run_is_refused(scenarios: Scenarios, command: str, hint: str) -> None:
    done = scenarios["trained"].result()[command]
    assert done.returncode == 2
    assert hint in done.stdout


def test_a_run_that_is_over_goes_on(scenarios: Scenarios, root: Path) -> None:
    more = scenarios["trained"].result()["more"]
    assert more.returncode == 0, more.stdout + more.stderr
    assert RunDirectory.open(root / "trained" / "run").closed_episodes() == [1, 2, 3, 4, 5]


def test_its_critics_are_compared_and_it_is_not_changed(scenarios: Scenarios) -> None:
    done = scenarios["trained"].result()
    figures = figures_of(done["critics"])
    assert figures["method"] == "usr"
    assert figures["updates"] > 0
    for name in ("within_steers_actions", "within_actions_height_off_mm", "executed_steers_actions"):
        assert -1 <= figures["correlations"][name]["spearman"] <= 1
    assert 0 < figures["correlations"]["within_steers_side_off_mm"]["n"] < figures["chunks"]
    assert not done["changed"]


def test_recorded_episodes_are_learnt_from_rerun_and_exported(scenarios: Scenarios) -> None:
    done = scenarios["trained"].result()
    assert figures_of(done["offline"])["episodes"] == 4
    assert figures_of(done["rerun"])["identical"] is True
    assert figures_of(done["export"])["episodes"] == 4


def test_authority_leaves_tables_a_picture_and_json(scenarios: Scenarios, root: Path) -> None:
    done, out = scenarios["authority"].result(), root / "authority" / "authority"
    figures = figures_of(done)
    for title in ("how far a chunk can be moved", "a controller that knows the answer", "where to start"):
        assert title in done.stdout
    assert (out / "authority.png").read_bytes().startswith(b"\x89PNG")
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


def test_the_learner_s_benchmark(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["learner"].result())
    assert figures["cells"].keys() == {cell.name for cell in QUICK_CELLS}
    assert figures["median_ratio_fp32"] > 1
    assert figures["threads"] == 1
    assert 0 < figures["median_gemm_fraction"] < 1
    assert figures["pool_draw_cost"] < 1.1
    assert 1 < figures["distillation_cost"] < figures["fresh_decode_cost"]


def test_the_tick_benchmark(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["ticks"].result())
    assert figures["learner_updates"] > 0
    assert figures["ticks_each"] == 54
    assert figures["learner_cpu_share"] > 0


def test_the_recording_benchmark(scenarios: Scenarios) -> None:
    figures = figures_of(scenarios["recording"].result())
    assert figures["steps_each"] == 60
    assert figures["frames_recorded"] > 0
    assert figures["frames_unaccounted"] == 0


def test_demonstrations_and_cloning(scenarios: Scenarios, root: Path) -> None:
    done = scenarios["cloned"].result()
    for one in done.values():
        assert one.returncode == 0, one.stdout + one.stderr
    assert "flow-" in done["pretrain"].stdout
    assert (root / "cloned" / "clone.safetensors").exists()


def test_the_store_s_benchmark(scenarios: Scenarios, root: Path) -> None:
    figures = figures_of(scenarios["store"].result())
    assert figures["episodes"] == figures["pooled_episodes"] == QUICK_EPISODES
    assert figures["chunks"] == QUICK_EPISODES * CHUNKS
    for what in ("replay_transitions_seconds", "pooled_rows_seconds"):
        assert 0 < figures[f"{what}_again"] < figures[f"{what}_first"]
    assert figures["runs_command_seconds_again"] > 0
    assert figures["pooled_bytes_per_transition"] > figures["replay_bytes_per_transition"] >= 0
    run = RunDirectory.open(root / "store" / "run")
    derived = [*run.path.glob(".*.memory"), *run.episodes.glob("*/transitions.packed"), *run.episodes.glob("*/.pool.*")]
    assert len(derived) == 2 + 2 * QUICK_EPISODES
    forget(run)
    assert not any(path.exists() for path in derived)


def test_twenty_kills_lose_no_label_no_closed_episode_and_a_second_of_the_open_one_at_most(
    scenarios: Scenarios,
) -> None:
    figures = figures_of(scenarios["kill_loop"].result())
    print(figures)
    assert figures["kills"] == dict.fromkeys(TURNS, KILLS // len(TURNS))
    assert (figures["lost"]["labels"], figures["lost"]["episodes"]) == (0, 0)
    assert figures["lost"]["open_s"] <= MOST_LOST_S
    assert figures["labels"] > 0
    assert figures["set_aside"] > 0
