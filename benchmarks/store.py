"""`python -m benchmarks.store [--quick] [--store DIR]`: what a long run costs to list and to open again.

A synthetic run of 10,000 labelled episodes of 15 chunks, with as many adapter versions and one corrected label, is
written through the store itself (some minutes; `--store` keeps it for the next time). Then, each in a process of its
own, once without the memories and sidecars that the store derives, and once with them:

- `robot-rl runs`: the command from start to end, and the overview within it;
- the replay: labels and manifests, the packed transitions, the learner's rows, and what memory that takes. `dsrl-sac`
  needs the rows alone; `dsrl-na` needs its pool of decoded noises too. It is opened under a limit: `MEMORY_LIMIT` more
  of the process's own memory (RLIMIT_DATA) than it had when it began, whatever the number of transitions; the rest is
  in mapped files (`robot_rl.learn.columns`), which the kernel may evict.

Wall seconds are what counts on an idle machine; the CPU's seconds stand beside them for a loaded one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.ending import show
from robot_rl.adapters.files import write_weights
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.compositions.plan import new_run, open_run
from robot_rl.compositions.terminal import progress_bar
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, EpisodeWriter
from robot_rl.store.labels import LabelLog
from robot_rl.store.overview import overview
from robot_rl.store.packed import PACKED_NAME, stored_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from robot_rl.types import Array, Label, LabelValue, Transition

EPISODES, QUICK_EPISODES, CHUNKS = 10_000, 60, 15
TASK, METHOD, POOLED = "lid_opening", "dsrl-sac", "dsrl-na"
POOLED_EPISODES = 500
"""Decoding a pool for the first time takes so long that it is measured on fewer episodes, unless `--all`."""
MEMORY_LIMIT = 256 * 1024 * 1024
"""Bytes of its own memory that a replay may take while it is built; an allocation beyond that fails."""
STATED = 150_000
"""Transitions for which memory is said."""


class Stopwatch:
    """Seconds, by name, on the wall's clock and the CPU's."""

    def __init__(self) -> None:
        self.wall: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), _cpu()
        yield
        self.wall[name] += time.perf_counter() - wall
        self.cpu[name] += _cpu() - cpu


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def build(path: Path, episodes: int, bar: Progress) -> None:
    """Write the run. Sizes are those of the task's policy; numbers are random."""
    run, _ = new_run(path, TASK, METHOD, 0, {})
    _, _, task, policy = open_run(path)
    spec, rng = policy.spec, np.random.default_rng(0)
    steer = SteeringLayout(spec, task.method(METHOD)).size
    chunk = (spec.horizon, spec.action_space.size)

    def floats(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    row = bar.add_task("writing episodes", total=episodes, note="")
    log = LabelLog(run.labels)
    for episode in range(1, episodes + 1):
        header = EpisodeHeader(episode, TASK, METHOD, spec.policy_id, spec.hash, episode - 1, 0, episode, "0")
        writer = EpisodeWriter(run, header)
        for index in range(CHUNKS):
            last = index == CHUNKS - 1
            transition = Transition(
                episode, index, floats(spec.features), floats(spec.features), floats(*spec.noise_shape), floats(steer),
                0.01 * floats(*chunk), 0.01 * rng.standard_normal(chunk), 8, 0.97, last, False,
            )  # fmt: skip
            writer.write_transition(transition)
        writer.close(EpisodeOutcome("success", 8 * CHUNKS, True, False, True, {"pass": 8 * CHUNKS}))
        value = LabelValue.SUCCESS if episode % 3 else LabelValue.FAILURE
        log.add(Label(f"e{episode}", episode, value, "benchmark"))
        described = {"version": episode, "through_episode": episode, "label_watermark": episode, "warmup": False}
        write_weights(run.adapters, episode, {"w": np.zeros(8, np.float32)}, described)
        bar.advance(row)
    log.add(Label("corrected", 1, LabelValue.FAILURE, "benchmark"))
    log.close()


def measure_runs(path: Path) -> dict[str, float]:
    """The overview, in this process; and the whole command, which finds the memories that the overview has left."""
    watch = Stopwatch()
    with watch.timed("overview"):
        seen = overview(path)
    assert len(seen.corrections) == 1
    with watch.timed("command"):
        subprocess.run([sys.executable, "-m", "robot_rl.cli", "runs", str(path)], check=True, capture_output=True)
    return {
        "seconds": watch.wall["overview"],
        "cpu_seconds": watch.cpu["overview"],
        "command_seconds": watch.wall["command"],
        "command_cpu_seconds": watch.cpu["command"],
    }


def measure_replay(path: Path, method: str, episodes: int) -> dict[str, float]:
    """A learner's replay, as a process that has just started builds it."""
    from robot_rl.learn.run_learner import RunLearner, pool_memory
    from robot_rl.policy.torch_flow import TorchFlow

    run, _, task, policy = open_run(path)
    decoder = TorchFlow.from_policy(policy)
    learner = RunLearner(policy.spec, method, task.method(method), decoder, 0, folder=run.path)
    learner.pools = pool_memory(run, learner)
    watch, before = Stopwatch(), _own_bytes()
    allowed = _status_bytes("VmData") + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    with watch.timed("labels"):
        chosen = labelled_episodes(run)[:episodes]
    for episode, _ in chosen:
        with watch.timed("transitions"):
            transitions = stored_transitions(run, episode)
        with watch.timed("rows"):
            learner.add_episode(transitions)
    with watch.timed("labels"):
        learner.set_labels(dict(chosen))
    assert learner.chunks == len(chosen) * CHUNKS
    return {
        "seconds": sum(watch.wall.values()),
        "cpu_seconds": sum(watch.cpu.values()),
        **{f"{part}_seconds": seconds for part, seconds in watch.wall.items()},
        "own_bytes": _own_bytes() - before,
        "held_bytes": learner.replay.nbytes,
        "in_files": learner.replay.in_files,
    }


def _own_bytes() -> int:
    """Memory that is this process's own and resident: not pages of files."""
    return _status_bytes("RssAnon")


def _status_bytes(name: str) -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[name].split()[0]) * 1024


def forget(run: RunDirectory) -> None:
    """Remove what the store derives."""
    for memory in run.path.glob(".*.memory"):
        memory.unlink()
    for pattern in (f"*/{PACKED_NAME}", "*/.pool.*"):
        for packed in run.episodes.glob(pattern):
            packed.unlink()


def in_a_process(*words: str) -> dict[str, float]:
    """What a measurement in a process of its own says."""
    command = [sys.executable, "-m", "benchmarks.store", "--measure", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return said


def measure(path: Path, pooled: int) -> dict[str, Any]:
    """All figures of the run at `path`; those of the pool on its first `pooled` episodes."""
    run = RunDirectory.open(path)
    episodes = len(run.closed_episodes())
    pooled = min(episodes, pooled)
    figures: dict[str, Any] = {"episodes": episodes, "chunks": episodes * CHUNKS}
    forget(run)
    for when in ("first", "again"):
        said = {
            "runs": in_a_process("runs", str(path)),
            "replay": in_a_process("replay", str(path), METHOD, str(episodes)),
            "pooled": in_a_process("replay", str(path), POOLED, str(pooled)),
        }
        figures |= {f"{what}_{key}_{when}": value for what, of_it in said.items() for key, value in of_it.items()}
    for what, count in (("replay", episodes * CHUNKS), ("pooled", pooled * CHUNKS)):
        figures[f"{what}_bytes_per_transition"] = figures[f"{what}_held_bytes_again"] / count
    figures["pooled_episodes"] = pooled
    figures["load"] = os.getloadavg()[0]
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """Build, measure, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_EPISODES} episodes: shows that it runs")
    parser.add_argument("--store", type=Path, help="where the run is kept, and used again if it is there")
    parser.add_argument("--all", action="store_true", help="measure the pool on every episode, too: minutes")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.measure:
        what, path, *rest = arguments.measure
        said = measure_runs(Path(path)) if what == "runs" else measure_replay(Path(path), rest[0], int(rest[1]))
        print(json.dumps(said))
        return 0
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.store or Path(scratch) / "run"
        if not RunDirectory(path).run_json.exists():
            with progress_bar(console) as bar:
                build(path, QUICK_EPISODES if arguments.quick else EPISODES, bar)
        figures = measure(path, EPISODES if arguments.all else POOLED_EPISODES)
    pooled = figures["pooled_episodes"]
    table = Table("", "first", "again", title=f"{figures['episodes']} episodes of {CHUNKS} chunks, seconds (CPU)")
    rows = {
        "robot-rl runs": "runs_command_",
        "its overview": "runs_",
        f"replay of {METHOD}": "replay_",
        f"replay of {POOLED}, {figures['pooled_episodes']} episodes": "pooled_",
    }
    for name, key in rows.items():
        cells = [
            f"{figures[f'{key}seconds_{w}']:.2f} ({figures[f'{key}cpu_seconds_{w}']:.2f})" for w in ("first", "again")
        ]
        table.add_row(name, *cells)
    words = [
        f"memory of {method}: {each:.0f} bytes a transition, {each * STATED / 2**20:.0f} MiB for {STATED:,}; "
        f"{count:,} were opened {'in files' if where else 'in plain memory'} with "
        f"{figures[f'{what}_own_bytes_again'] / 2**20:.0f} MiB of the process's own "
        f"({MEMORY_LIMIT / 2**20:.0f} allowed)"
        for method, what, count in ((METHOD, "replay", figures["chunks"]), (POOLED, "pooled", pooled * CHUNKS))
        for each, where in [(figures[f"{what}_bytes_per_transition"], figures[f"{what}_in_files_again"])]
    ]
    return show(console, table, "\n".join(words), figures)


if __name__ == "__main__":
    sys.exit(main())
