"""`python -m benchmarks.kill_loop [--kills 200]`: kill -9 at random moments of a real-time run, and what that cost.

A short task is begun, and resumed after every end as `robot-rl run --resume` does. One of its processes after the other
is killed while an episode is under way: the store (it records), the guard, the actor, and the learner, which the run
starts again.
After each kill, from the files alone: every label that was in the log is there, every episode that was closed has its
bytes, and of the one that was open at most a second is missing, of what its actor had handed to the store (it says so
in a `Witness`). At the end a run without faults must succeed. The last line is one of JSON; the exit status is 1 if
anything was lost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from robot_rl.adapters.files import numbers
from robot_rl.clock import SECOND
from robot_rl.compositions import realtime
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.errors import RobotRLError, StoreError
from robot_rl.services.store import StoreClient
from robot_rl.store.episode import MCAP_NAME, EpisodeHeader, salvage, verify
from robot_rl.store.labels import LabelLog
from robot_rl.store.records import JSON
from robot_rl.store.ros import STEPS
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from robot_rl.task_files import TASKS_DIR

TURNS = ("store", "learner", "guard", "actor")
"""Who is killed, in turn; all but the learner end the run with them."""
MODULES = {
    "store": "robot_rl.compositions.store_process",
    "guard": "robot_rl.compositions.guard_process",
    "learner": "robot_rl.learn",
}
WITHIN_S = 2.0
"""A kill comes this long at most after an episode was seen to be open."""
ENDLESS = 100_000
"""Episodes that a run which is to be killed has before it."""
PATIENCE_S = 60.0
PERIOD_S = 0.05
"""Of the task's control loop."""
WITNESS_NAME = "witness"
"""Beside the run."""
MOST_LOST_S = 1.0
T = TypeVar("T")


@dataclass
class Losses:
    """What the kills have cost; all of it must be 0, and the last at most `MOST_LOST_S`."""

    labels: int = 0
    episodes: int = 0
    open_s: float = 0.0
    """Most seconds of an open episode that are not in what is left of it."""


@dataclass(frozen=True)
class Seen:
    """A run's files just before a kill."""

    labels: dict[int, tuple[str, str]]
    """Episode -> (event id, value)."""
    closed: dict[int, str]
    """Episode -> sha256."""

    @classmethod
    def of(cls, run: RunDirectory) -> Seen:
        closed = {episode: verify(run.episode(episode)).sha256 for episode in run.closed_episodes()}
        return cls(labels_of(run), closed)


class Witness:
    """Which steps of the open episode were handed to the store, in a file that outlives whoever says so.

    A step is made at its observation's stamp, ns; one that is handed over has `PERIOD_S` of robot's time in it.
    """

    _LAYOUT = struct.Struct("<3q")

    def __init__(self, path: Path) -> None:
        path.touch()
        os.truncate(path, self._LAYOUT.size)
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), self._LAYOUT.size)

    def begin(self, episode: int) -> None:
        """Nothing of `episode` was handed over so far."""
        self._LAYOUT.pack_into(self._shared, 0, episode, 0, 0)

    def step(self, stamp_ns: int) -> None:
        """Another one of the same episode."""
        episode, first_ns, _ = self.said()
        self._LAYOUT.pack_into(self._shared, 0, episode, first_ns or stamp_ns, stamp_ns)

    def said(self) -> tuple[int, int, int]:
        """(episode, stamp of its first step, stamp of its newest step); the stamps are 0 before there is one."""
        episode, first_ns, newest_ns = self._LAYOUT.unpack_from(self._shared)
        return episode, first_ns, newest_ns


class WitnessedStore(StoreClient):
    """The store as the actor sees it; a step that was sent is also said to a `Witness`."""

    witness: Witness

    def begin(self, header: EpisodeHeader) -> None:
        super().begin(header)
        self.witness.begin(header.episode)

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, JSON]) -> None:
        super().write(topic, stamp_ns, message)
        if topic == STEPS:
            self.witness.step(stamp_ns)


@dataclass
class KillLoop:
    """A run that is killed again and again."""

    folder: Path
    kills: int
    seed: int
    losses: Losses = field(default_factory=Losses)
    killed: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    open_episodes: int = 0
    """Kills that cut an episode with steps in it, so that what is left of it was looked at."""

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._run, _ = new_run(self.folder / "run", str(short_task(self.folder)), "usr", self.seed, {})
        self._witness = Witness(self.folder / WITNESS_NAME)
        self._process: subprocess.Popen[bytes] | None = None

    def loop(self, done: Callable[[int], None]) -> None:
        """All kills, then a run without faults. `done(n)` is called after the n-th kill."""
        try:
            for number, name in zip(range(1, self.kills + 1), itertools.cycle(TURNS)):
                self._kill(name)
                done(number)
            self._succeed()
        finally:
            self._end()

    def _kill(self, name: str) -> None:
        process = self._running()
        wait_for(self._run.partial_episodes, "an open episode", process)
        time.sleep(self._rng.uniform(0.0, WITHIN_S))
        family = wait_for(lambda: name in (found := children_of(process.pid)) and found, name, process)
        seen = Seen.of(self._run)
        os.kill(family[name], signal.SIGKILL)
        if name == "learner":
            wait_for(lambda: children_of(process.pid).get(name, family[name]) != family[name], "a new learner", process)
        else:
            process.wait(PATIENCE_S)
            wait_for(lambda: not any(alive(pid) for pid in family.values()), "the end of its processes")
            self._process = None
        self.killed[name] += 1
        self._compare(seen, over=name != "learner")

    def _compare(self, seen: Seen, *, over: bool) -> None:
        """Count what is missing of what was `seen` at the kill; `over`: no process of the run is left."""
        labels = labels_of(self._run)
        self.losses.labels += sum(labels.get(episode) != label for episode, label in seen.labels.items())
        for episode, sha256 in seen.closed.items():
            try:
                self.losses.episodes += verify(self._run.episode(episode)).sha256 != sha256
            except StoreError:
                self.losses.episodes += 1
        episode, first_ns, newest_ns = self._witness.said()
        if over and first_ns and not self._run.episode(episode).exists():
            self.open_episodes += 1
            lost_s = (newest_ns - self._last_step_ns(episode, first_ns)) / SECOND
            self.losses.open_s = max(self.losses.open_s, lost_s)

    def _last_step_ns(self, episode: int, first_ns: int) -> int:
        """Of what is left of an episode that was never closed and began at `first_ns`."""
        left = [self._run.partial(episode), *self._run.episodes.glob(f"{episode:06d}.incomplete.*")]
        steps = [salvage(path / MCAP_NAME, STEPS)[0] for path in left if (path / MCAP_NAME).exists()]
        stamps = [messages[-1].stamp_ns for messages in steps if messages]
        return max([stamp for stamp in stamps if stamp >= first_ns], default=first_ns - round(PERIOD_S * SECOND))

    def _succeed(self) -> None:
        """One labelled episode more, without a fault; the adapter then knows all of them."""
        self._end()
        episodes = len(labelled_episodes(self._run)) + 1
        status = self._start(episodes).wait(PATIENCE_S)
        known = max(numbers(self._run.adapters), default=0)
        if status != 0 or len(labelled_episodes(self._run)) != episodes or known != self._run.closed_episodes()[-1]:
            raise RuntimeError(f"the run without faults ended with {status}:\n{self._log()}")

    def _running(self) -> subprocess.Popen[bytes]:
        return self._process or self._start(ENDLESS)

    def _start(self, episodes: int) -> subprocess.Popen[bytes]:
        self.lives += 1
        command = [sys.executable, "-m", "benchmarks.kill_loop", "--live", str(self._run.path), str(episodes)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (self.folder / "run.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        return self._process

    def _end(self) -> None:
        """In order, as Ctrl-C does."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def _log(self) -> str:
        return "\n".join((self.folder / "run.log").read_text(errors="replace").splitlines()[-20:])


def short_task(folder: Path) -> Path:
    """The lid task with episodes of 1.5 s, a small learner, and no cameras to draw."""
    task = yaml.safe_load((TASKS_DIR / "lid_opening.yaml").read_text())
    small = {"warmup_episodes": 2, "hidden": 32, "layers": 2, "batch": 32, "utd": 2.0}
    task |= {"max_steps": 30, "methods": {"usr": task["methods"]["usr"] | small}, "compute": {"matmul": "default"}}
    task["policy"]["checkpoint"] = str(TASKS_DIR / task["policy"]["checkpoint"])
    task["scene"]["cameras"] = {}
    path = folder / "short.yaml"
    path.write_text(yaml.safe_dump(task))
    return path


def labels_of(run: RunDirectory) -> dict[int, tuple[str, str]]:
    """Episode -> (event id, value)."""
    log = LabelLog(run.labels)
    try:
        return {episode: (event.label.event_id, event.label.value.value) for episode, event in log.current().items()}
    finally:
        log.close()


def children_of(pid: int) -> dict[str, int]:
    """Name -> process id of a run's processes, itself (`actor`) included."""
    found = {"actor": pid}
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):
                arguments = Path(f"/proc/{child}/cmdline").read_text().split("\0")
                found |= {name: int(child) for name, module in MODULES.items() if module in arguments}
    return found


def alive(pid: int) -> bool:
    """Whether a process is there, and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(ask: Callable[[], T], what: str, process: subprocess.Popen[bytes] | None = None) -> T:
    """The first answer of `ask` that is true. Raises `RuntimeError` when it does not come, or `process` ends."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {PATIENCE_S:g} s for {what}")
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the run ended with status {process.returncode} before {what}")
        time.sleep(0.02)
    return answer


def live(path: Path, episodes: int) -> int:
    """The run at `path`, by the clock on the wall, until it has so many labelled episodes."""
    run, info, task, policy = open_run(path)
    WitnessedStore.witness = Witness(path.parent / WITNESS_NAME)
    plan = RunPlan(run, info, task, policy, episodes, auto_label=True, console_port=None)
    try:
        with patch.object(realtime, "StoreClient", WitnessedStore):
            realtime.run_realtime(plan, watch=lambda actor: None, announce=lambda url: None)
    except RobotRLError as error:
        print(f"error: {error}", flush=True)
        return 2
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, count, print; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_loop", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--live", nargs=2, metavar=("RUN", "EPISODES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.live is not None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return live(Path(arguments.live[0]), int(arguments.live[1]))
    began = time.monotonic()
    columns = TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with tempfile.TemporaryDirectory(prefix="kill_loop-") as folder, Progress(*columns, console=Console()) as bar:
        row = bar.add_task("", total=arguments.kills)
        loop = KillLoop(Path(folder), arguments.kills, arguments.seed)
        loop.loop(lambda done: bar.update(row, completed=done))
        run = RunDirectory(Path(folder) / "run")
        found = {
            "kills": dict(loop.killed),
            "lives": loop.lives,
            "lost": {**asdict(loop.losses), "open_s": round(loop.losses.open_s, 3)},
            "open_episodes": loop.open_episodes,
            "labels": len(labels_of(run)),
            "episodes": len(run.closed_episodes()),
            "set_aside": len(run.incomplete_paths()),
            "seconds": round(time.monotonic() - began),
        }
    print(json.dumps(found))
    lost = loop.losses
    return 1 if lost.labels or lost.episodes or lost.open_s > MOST_LOST_S else 0


if __name__ == "__main__":
    sys.exit(main())
