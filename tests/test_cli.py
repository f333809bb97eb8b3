"""The command line as a person meets it: what is mistyped, and what help says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from robot_rl import cli, config
from robot_rl.cli import app
from robot_rl.cli.app import method_name
from tests.commands import ENVIRONMENT, robot_rl


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
        (("adapt", "lid_openin"), "did you mean 'lid_opening'"),
        (("adapt", "lid_opening", "--workers", "0"), "'--workers': Input should be greater than or equal to 1"),
        (("adapt", "lid_opening", "--method", "lp-d"), "did you mean 'lp-ds'"),
        (("adapt", "lid_opening", "--ranges", "no/such.yaml"), "no/such.yaml: cannot be read as UTF-8"),
        (("adapt", "--resume", "no/such/run"), "is not a run"),
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
    arguments: tuple[str, ...],
    hint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = ("--out", str(tmp_path / "run"), "--no-console") if arguments[0] == "run" else ()
    extra = ("--out", str(tmp_path / "run")) if arguments[:2] == ("adapt", "lid_opening") else extra
    monkeypatch.setattr("sys.argv", ["robot-rl", *arguments, *extra])
    handlers = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with pytest.raises(SystemExit) as ended:
        cli.main()
    for name, handler in handlers.items():
        signal.signal(name, handler)
    assert ended.value.code == 2
    assert hint in "".join(capsys.readouterr())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("lpds", "lp-ds"),
        ("LPDS:paper", "lp-ds:paper"),
        ("dsrl_na", "dsrl-na"),
        ("usr", "usr"),
        ("usrr", "usrr"),
        ("", ""),
        (None, None),
    ],
)
def test_a_method_is_known_however_it_is_hyphenated(written: str | None, name: str | None) -> None:
    assert method_name(written) == name


def test_a_seed_is_bounded_as_in_a_task_file() -> None:
    assert app.MAX_SEED == config.MAX_SEED


def test_as_a_process_it_ends_without_a_traceback() -> None:
    done = robot_rl("eval", "no/such/run")
    assert done.returncode == 2
    assert "is not a run" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize(
    ("module", "verb", "name"), [("typer", "tasks", "SIGINT"), ("safetensors", "verify", "SIGHUP")]
)
def test_an_interrupt_while_it_imports_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, verb: str, name: str, swallows: bool
) -> None:
    """Before the command line is read, and within a verb; an extension module may make another error of it."""
    ctrl_c = f"os.kill(os.getpid(), signal.{name}); time.sleep(5)"
    spoilt = f"try: {ctrl_c}\nexcept BaseException: raise ImportError('initialization failed')" if swallows else ctrl_c
    (tmp_path / f"{module}.py").write_text(f"import os, signal, time\n{spoilt}\n")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])]))
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored, also by children, below `nohup`
    try:
        done = robot_rl(verb, *([str(tmp_path)] if verb == "verify" else []))
    finally:
        signal.signal(signal.SIGHUP, inherited)
    assert done.returncode == 130
    assert "Traceback" not in done.stdout + done.stderr


def test_help_says_units_and_defaults() -> None:
    text = robot_rl("run", "--help").stdout
    for part in ("--method", "[default: usr]", "--episodes", "--resume", "--label", "--policy", "TCP port"):
        assert part in text
