"""`python -m benchmarks.protocol_twin [--trials N]`: the frozen policy on the protocol twin against the fast twin.

The same policy on the same evaluation starts, through the same guard and actor: in the fast twin in lockstep, and in
real time with the Franka driver in front of libfranka's protocol. Beside success it measures what may differ on the
way from a command to the hand, in both: by how much the hand follows later than it was told (the delay with which the
commanded path fits the measured one best), how far off it then is, how long a control period took, and in the protocol
twin how much simulated time passed in a second (less than one where the machine is too slow). A motion counts until
something is in its way. What a delay alone costs is measured too, in the fast twin, where commands can be made to wait
for a control period (50 ms). The last line is JSON.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from robot_rl.clock import SECOND, Clock, RealClock, SteppedClock
from robot_rl.compositions.evaluate import frozen, outcomes_in
from robot_rl.compositions.plan import load_policy
from robot_rl.compositions.results import Rate
from robot_rl.config import TaskConfig
from robot_rl.task_files import load_task, task_path
from robot_rl.twins import HARDWARE, TWIN, TwinRobot, load_twin
from robot_rl.types import Array, Observation

PROTOCOL = "protocol_twin"
LATE = "twin_50_ms_late"
POINTS = 0.15
"""How far the two rates may be apart without an explanation."""
DELAYS_S = np.arange(0.0, 0.2001, 0.005)
LONG_ENOUGH = 8
"""Control periods of a motion that say something about its delay."""
BLOCKED_M = 0.03
"""A hand that is so far from where it was told to be is held by something: it is not late."""


@dataclass
class Motion:
    """One uninterrupted motion: a row per control period."""

    stamps_s: list[float] = field(default_factory=list)
    commanded: list[Array] = field(default_factory=list)
    """[3] m: where the hand was told to be by the end of the period."""
    measured: list[Array] = field(default_factory=list)
    """[3] m: where it was."""


class Traced:
    """A twin that notes what it was told and where it was then; otherwise the twin that it is in front of."""

    def __init__(self, twin: TwinRobot) -> None:
        self._twin = twin
        self._at: Array | None = None
        self._told: Array | None = None
        self.motions: list[Motion] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._twin, name)

    def apply(self, target: Array) -> None:
        if self._told is None:
            self.motions.append(Motion())
            self._told = self._at
        if self._told is not None:
            self._told = self._told + target[:3]
        self._twin.apply(target)

    def hold(self) -> None:
        self._told = None
        self._twin.hold()

    def reset(self, start: Any) -> None:
        self._told = None
        self._twin.reset(start)

    def observe(self) -> Observation:
        seen = self._twin.observe()
        self._at = seen.tcp_pose[:3]
        stamp_s = seen.stamps_ns["robot"] / SECOND
        if self._told is not None and (motion := self.motions[-1]).stamps_s[-1:] != [stamp_s]:
            motion.stamps_s.append(stamp_s)
            motion.commanded.append(self._told)
            motion.measured.append(self._at)
        return seen


def follows(motions: Sequence[Motion]) -> tuple[float, float]:
    """(delay in s, root mean square of what remains in m): the delay with which the command fits the measured path."""
    squares, count = np.zeros(len(DELAYS_S)), 0
    for motion in motions:
        stamps, told, at = (np.array(rows) for rows in (motion.stamps_s, motion.commanded, motion.measured))
        blocked = np.abs(at - told).max(1, initial=0.0) > BLOCKED_M if len(stamps) else np.zeros(0, dtype=bool)
        free = int(blocked.argmax()) if blocked.any() else len(stamps)
        if free < LONG_ENOUGH:
            continue
        stamps, told, at = stamps[:free], told[:free], at[:free]
        for row, delay in enumerate(DELAYS_S):
            expected = np.stack([np.interp(stamps - delay, stamps, told[:, axis]) for axis in range(3)], axis=1)
            squares[row] += ((at - expected) ** 2).sum()
        count += len(stamps)
    best = int(squares.argmin())
    return float(DELAYS_S[best]), float(np.sqrt(squares[best] / max(count, 1)))


def late(task: TaskConfig) -> TaskConfig:
    """The task with a world in which a command takes effect one control period later."""
    worlds = task.scene["worlds"]
    waiting = {**worlds[TWIN], "delay_steps": worlds[TWIN]["delay_steps"] + 1}
    return task.model_copy(update={"scene": {**task.scene, "worlds": {**worlds, TWIN: waiting}}})


def measure(title: str, hw: str, task: TaskConfig, trials: int, seed: int, bar: Progress) -> dict[str, Any]:
    """The frozen policy's success on `hw`, and how the hand followed."""
    clock: Clock = SteppedClock() if HARDWARE[hw].lockstep else RealClock()
    twin: Any = Traced(load_twin(task, "twin", clock, hw))
    policy = load_policy(task, task_path(task.name))
    row = bar.add_task(title, total=trials)
    simulated_s = _simulated_s(twin)
    began_s, cpu_s = time.monotonic(), time.process_time()
    try:
        method = next(iter(task.methods))
        won = outcomes_in(
            twin, clock, task, method, policy, frozen(policy), trials, seed,
            progress=lambda done: bar.update(row, completed=done),
        )  # fmt: skip
        wall_s = time.monotonic() - began_s
        factor = None if simulated_s is None else (_simulated_s(twin) - simulated_s) / wall_s
    finally:
        twin.close()
    rate = Rate(sum(won), trials)
    delay_s, error_m = follows(twin.motions)
    periods = np.concatenate([np.diff(motion.stamps_s) for motion in twin.motions])
    return {
        "success": rate.rate,
        "interval": rate.interval,
        "outcomes": won,
        "delay_s": delay_s,
        "tracking_error_m": error_m,
        "period_p50_s": float(np.percentile(periods, 50)),
        "period_p99_s": float(np.percentile(periods, 99)),
        "real_time_factor": factor,
        "wall_s": wall_s,
        "cpu_share": (time.process_time() - cpu_s) / wall_s,
    }


def _simulated_s(twin: Any) -> Any:
    """Of the protocol twin's own time; None for a twin whose time is the clock's."""
    perceived = getattr(twin, "perceived", None)
    return None if perceived is None else perceived.simulated_s


def compare(task: str, trials: int, seed: int, console: Console) -> dict[str, Any]:
    """Both twins, one after the other; the figures of each, and how far apart they are."""
    config = load_task(task)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        worlds = {TWIN: (TWIN, config), LATE: (TWIN, late(config)), PROTOCOL: (PROTOCOL, config)}
        figures = {name: measure(name, hw, world, trials, seed, bar) for name, (hw, world) in worlds.items()}
    fast, _, protocol = figures.values()
    outcomes = {name: row.pop("outcomes") for name, row in figures.items()}
    pairs = list(zip(outcomes[TWIN], outcomes[PROTOCOL], strict=True))
    difference = protocol["success"] - fast["success"]
    return {
        "benchmark": "protocol_twin",
        "task": task,
        "trials": trials,
        "seed": seed,
        **figures,
        "difference": difference,
        "within_15_points": abs(difference) <= POINTS,
        "same_outcome": sum(one == other for one, other in pairs) / trials,
        "won_in_the_fast_twin_alone": sum(pair == (1, 0) for pair in pairs),
        "won_in_the_protocol_twin_alone": sum(pair == (0, 1) for pair in pairs),
        "load_average": os.getloadavg()[0],
    }


def table_of(figures: dict[str, Any]) -> Table:
    """What a person looks at first."""
    table = Table(title=f"{figures['task']}: the frozen policy, {figures['trials']} trials each")
    for name in ("", "success", "delay", "error then", "period p50", "p99", "real-time factor"):
        table.add_column(name)
    for hw in (TWIN, LATE, PROTOCOL):
        row = figures[hw]
        low, high = row["interval"]
        factor = row["real_time_factor"]
        table.add_row(
            hw,
            f"{row['success']:.2f} [{low:.2f}, {high:.2f}]",
            f"{1e3 * row['delay_s']:.0f} ms",
            f"{1e3 * row['tracking_error_m']:.1f} mm",
            f"{1e3 * row['period_p50_s']:.1f} ms",
            f"{1e3 * row['period_p99_s']:.1f} ms",
            "" if factor is None else f"{factor:.2f}",
        )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, and end with a line of JSON; 1 where the rates are further apart than they may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocol_twin", description=__doc__)
    parser.add_argument("--task", default="lid_opening", help="a task's name (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=40, help="episodes on each twin (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the evaluation starts (default: %(default)s)")
    arguments = parser.parse_args(argv)
    console = Console(stderr=True)
    figures = compare(arguments.task, arguments.trials, arguments.seed, console)
    console.print(table_of(figures))
    print(json.dumps(figures))
    return 0 if figures["within_15_points"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
