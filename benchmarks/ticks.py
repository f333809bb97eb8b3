"""`python -m benchmarks.ticks [--minutes M]`: does a saturated learner make a 30 Hz control loop late?

The loop does what an actor does: at each tick it is woken when a step is due, and once a chunk it lets the newest
adapter steer and the frozen policy decode, in numpy. The learner is USR (3 x 256) in a process of its own, niced as
`robot_rl.learn` is, and never without updates to do. Blocks with it and without it (stopped by a signal) take turns, in
an order that turns round from pair to pair, M minutes of each; a tick is late when its work is done more than 10 ms
after it was due. What else the machine does hits both sides of a pair alike, so that the difference is the figure.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # both before torch is imported

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.ending import show
from benchmarks.intervals import half_width
from benchmarks.learner import BATCH, HORIZON, PAIRS, SPEC, Cell, flow_policy, make_learner
from robot_rl.learn.__main__ import NICE
from robot_rl.learn.matmul import probe
from robot_rl.learn.memory import keep_memory
from robot_rl.processes import end_with_parent, stop_event
from robot_rl.types import Array, Context

PERIOD_S, LATE_S, BLOCK_S = 1 / 30, 0.010, 10.0
CELL = Cell(256, 2)
SETTINGS = {"pool": PAIRS, "bootstrap": "distilled", "residual_layout": "constant", "residual_scale": (0.1,) * 4}


def saturate() -> None:
    """Learn until SIGTERM; then say how many updates that were, and in how much of the CPU's time."""
    import torch

    end_with_parent()
    stopping: threading.Event = stop_event()
    os.nice(NICE)
    torch.set_num_threads(1)
    keep_memory()
    path = probe(batch=BATCH, hidden=CELL.hidden, members=CELL.critics).path
    learner = make_learner("usr", CELL, path, **SETTINGS)
    print("ready", flush=True)
    began = time.process_time()
    while not stopping.is_set():
        learner.learn(5)
    print(json.dumps({"updates": learner.updates, "cpu_seconds": time.process_time() - began}), flush=True)


def control() -> Callable[[int], None]:
    """A tick's work."""
    adapter = make_learner("usr", CELL, "default", **SETTINGS).adapter()
    policy, rng = flow_policy(), np.random.default_rng(0)

    def work(tick: int) -> None:
        if tick % HORIZON == 0:
            context = Context(features=rng.standard_normal((1, SPEC.features)).astype(np.float32))
            steering = adapter.steer(context, rng, explore=True)
            policy.decode(context, steering.noise[None])

    return work


def block(work: Callable[[int], None], seconds: float, period_s: float = PERIOD_S) -> Array:
    """How late each tick's work was done, s; a tick that is missed altogether counts with its own lateness."""
    ticks = max(1, round(seconds / period_s))
    late, began = np.empty(ticks), time.monotonic()
    for tick in range(ticks):
        due = began + tick * period_s
        time.sleep(max(0.0, due - time.monotonic()))
        work(tick)
        late[tick] = time.monotonic() - due
    return late


def summarise(on: Sequence[Array], off: Sequence[Array]) -> dict[str, float]:
    """Late ticks of both sides; the mean difference of a pair of blocks, with its 95 % interval."""
    counts = np.array([[(late > LATE_S).sum() for late in side] for side in (on, off)])
    difference = counts[0] - counts[1]
    half, mean = half_width(difference.tolist()) or 0.0, float(difference.mean())
    return {
        "ticks_each": sum(map(len, on)),
        "late_with_learner": int(counts[0].sum()),
        "late_without_learner": int(counts[1].sum()),
        "difference_per_block": mean,
        "difference_low": mean - half,
        "difference_high": mean + half,
        "p99_ms_with_learner": float(np.percentile(np.concatenate(on), 99) * 1e3),
        "p99_ms_without_learner": float(np.percentile(np.concatenate(off), 99) * 1e3),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ticks", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each side (default: %(default)s)")
    parser.add_argument("--saturate", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.saturate:
        saturate()
        return 0
    console, work = Console(), control()
    seconds = min(BLOCK_S, arguments.minutes * 60)
    pairs = max(1, round(arguments.minutes * 60 / seconds))
    on: list[Array] = []
    off: list[Array] = []
    command = [sys.executable, "-m", "benchmarks.ticks", "--saturate"]
    learner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert learner.stdout is not None
    try:
        learner.stdout.readline()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            row = bar.add_task("pairs of blocks", total=pairs)
            for pair in range(pairs):
                sides = [(signal.SIGCONT, on), (signal.SIGSTOP, off)]
                for word, side in reversed(sides) if pair % 2 else sides:
                    learner.send_signal(word)
                    side.append(block(work, seconds))
                bar.advance(row)
    finally:
        learner.send_signal(signal.SIGCONT)
        learner.terminate()
    said = json.loads(learner.stdout.read())
    learner.wait()
    figures = {**summarise(on, off), "learner_updates": said["updates"], "load": os.getloadavg()[0]}
    figures["learner_cpu_share"] = said["cpu_seconds"] / (pairs * seconds)
    table = Table("", "with the learner", "without it", title=f"{figures['ticks_each']} ticks at 30 Hz, each")
    table.add_row("late by over 10 ms", *(str(figures[f"late_{side}_learner"]) for side in ("with", "without")))
    table.add_row("99th percentile, ms", *(f"{figures[f'p99_ms_{side}_learner']:.2f}" for side in ("with", "without")))
    return show(console, table, "", figures)


if __name__ == "__main__":
    sys.exit(main())
