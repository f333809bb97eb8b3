"""What long work shows in the terminal."""

from __future__ import annotations

import time
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from robot_rl.compositions.plan import RunPlan
from robot_rl.store.training import labelled_episodes

REFRESH_S = 0.2


def progress_bar(console: Console) -> Progress:
    """The one look of long work."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"), console=console,
    )  # fmt: skip


class Shown(Protocol):
    """An actor, in this process or another one."""

    def snapshot(self) -> dict[str, Any]: ...


class Watch:
    """Shows a run's progress; called every control step, it looks a few times a second."""

    def __init__(self, bar: Progress, plan: RunPlan) -> None:
        self._bar, self._plan = bar, plan
        self._due = 0.0
        self._why = ""
        self._alarms: set[str] = set()
        done = len(labelled_episodes(plan.run))
        self._task: TaskID = bar.add_task("episodes", total=max(plan.episodes, done), completed=done, note="")

    def __call__(self, actor: Shown) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REFRESH_S
        shown = actor.snapshot()
        recent = [value for _, value in shown["curve"][-20:]]
        rate = f"last {len(recent)}: {sum(recent) / len(recent):.0%}" if recent else ""
        learner = shown["learner"] or {}
        acting = f"adapter v{shown['adapter_version']}  UTD {learner.get('utd_reached', 0):.1f}"
        note = f"{shown['state'].lower()}  {rate}  {acting}"
        held = shown["safety"]["level"] != "OK" and shown["why"]
        if held and held != self._why:
            self._bar.console.print(f"holding: {escape(held)}")
        self._why = held or ""
        for alarm in learner.get("alarms", ()):  # what this process has found itself is in its log
            if alarm not in self._alarms:
                self._alarms.add(alarm)
                self._bar.console.print(f"learner: {escape(alarm)}", soft_wrap=True)
        self._bar.update(self._task, completed=len(shown["curve"]), note=note)
