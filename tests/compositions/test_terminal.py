"""What a run says on the terminal beside its progress."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console

from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.compositions.terminal import Watch, progress_bar
from robot_rl.control.actor import Actor
from tests.console.scripted import ScriptedPort
from tests.small_task import write_small_task


def test_what_the_learner_complains_of_is_said_once(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("robot_rl.compositions.terminal.REFRESH_S", -1.0)
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    plan = RunPlan(*open_run(tmp_path / "run"), 4, auto_label=True, console_port=None)
    shown, text = ScriptedPort().snapshot(), io.StringIO()
    with progress_bar(Console(file=text, width=200)) as bar:
        watch = Watch(bar, plan)
        for alarms in (None, ["the disk [refuses] it"], ["the disk [refuses] it", "another"], []):
            shown["learner"] = None if alarms is None else {"alarms": alarms}
            watch(cast(Actor, SimpleNamespace(snapshot=lambda: shown)))
    said = [line.strip() for line in text.getvalue().splitlines() if line.startswith("learner")]
    assert said == ["learner: the disk [refuses] it", "learner: another"]
