"""`python -m benchmarks.ros_graph [--minutes M | --quick]`: what the ROS 2 graph costs, and whether it is in time.

`robot-rl up` runs the lid task at 20 Hz, labelled by the twin. Blocks of three kinds take turns, in an order that turns
round from one turn to the next:

- with: the learner saturates its core, and three synthetic cameras publish raw images of 640 x 480 at 30 Hz (a software
  renderer would measure itself) to a best-effort subscriber, with the Fast DDS profile that the launchers set;
- bare: the learner is stopped by a signal, the cameras show nothing, the control loop is alone;
- zmq: as `with`, a third as long, the same images over ZMQ ipc in place of ROS.

A command tick is late when its control period, in the recorded episodes, was longer than 50 ms by more than 10 ms. CPU
is what the two processes of the images, who shows and who looks, took. At last, with learner and cameras, Esc is
pressed in the page in Chromium while the robot moves, again and again: until the control period in which the guard
holds the robot begins. Each figure stands beside what it must be; what else the machine does shows in all of them. The
last line is JSON, and the exit status 1 if one is missed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from robot_rl_ros.dds import dds_environment

from benchmarks.ending import show
from benchmarks.graph_run import GraphRun, graph_run
from benchmarks.image_streams import GO, REST
from robot_rl.clock import MS, SECOND
from robot_rl.services.guard import GuardClient
from robot_rl.store.episode import read_messages
from robot_rl.store.run import RunDirectory
from robot_rl.types import Array
from robot_rl.wire.rpc import RpcClient

WITH, BARE, ZMQ = "with", "bare", "zmq"
PERIOD_MS, LATE_MS, BLOCK_S, QUICK_MINUTES = 50.0, 10.0, 10.0, 0.25
PRESSES, QUICK_PRESSES = 100, 10
SETTLE_S = 0.5
"""Between a signal and the block's beginning."""
MOVING = 0.15
"""rad/s of the fastest joint; while an episode runs it reaches 1."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
TARGETS: Mapping[str, float] = {
    "late_share_with": 0.005,
    "p99_ratio": 1.3,
    "image_latency_p50_ms": 2.0,
    "image_loss": 0.0,
    "image_cpu_ratio": 2.5,
    "stop_p99_ms": 50.0,
}
"""What a figure may be at most."""
WORDS = {
    "late_share_with": "command ticks late by more than 10 ms",
    "p99_ratio": "99th percentile of the control periods, to the bare loop's",
    "image_latency_p50_ms": "image latency, median, ms",
    "image_loss": "share of images lost",
    "image_cpu_ratio": "CPU of the images, to that of ZMQ ipc",
    "stop_p99_ms": "Esc to the guard's hold, 99th percentile, ms",
}


@dataclass
class Images:
    """The two processes of one way of passing on images."""

    publisher: subprocess.Popen[str]
    listener: subprocess.Popen[str]
    cpu_s: float = 0.0
    """Of both, in the blocks."""

    def __enter__(self) -> Images:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in (self.publisher, self.listener):
            process.kill()
            process.communicate()

    def finish(self) -> dict[str, Any]:
        """What both say of themselves; the publisher ends first."""
        said: dict[str, Any] = {}
        for process in (self.publisher, self.listener):
            said |= json.loads(process.communicate(timeout=30)[0])
        return said

    def show(self, showing: bool) -> None:
        """Whether the publisher shows anything from now on."""
        assert self.publisher.stdin is not None
        self.publisher.stdin.write(GO if showing else REST)
        self.publisher.stdin.flush()

    @property
    def cpu_now_s(self) -> float:
        return sum(cpu_seconds(process.pid) for process in (self.publisher, self.listener))


def images(over: str, endpoint: str, environment: Mapping[str, str]) -> Images:
    """Both are ready, and the publisher rests."""
    listener, publisher = (_started(role, over, endpoint, environment) for role in ("listen", "publish"))
    made = Images(publisher, listener)
    made.show(False)
    return made


def _started(role: str, over: str, endpoint: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.image_streams", role, over, endpoint]
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"{' '.join(command[1:])} ended with status {process.wait()}")
    return process


def cpu_seconds(pid: int) -> float:
    """User's and system's time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Block:
    """When one kind of block was."""

    kind: str
    began_ns: int
    ended_ns: int


@dataclass
class Bench:
    """The graph and both kinds of images, and what was seen of them."""

    graph: GraphRun
    over_ros: Images
    over_zmq: Images
    blocks: list[Block] = field(default_factory=list)
    learner_cpu_s: float = 0.0

    def block(self, kind: str, seconds: float) -> None:
        """Let `kind` of block be for `seconds`, and keep account of it."""
        self.become(kind)
        time.sleep(SETTLE_S)
        moving = {WITH: self.over_ros, ZMQ: self.over_zmq}.get(kind)
        learner = self.graph.pids["learner"]
        before = cpu_seconds(learner), moving.cpu_now_s if moving else 0.0
        began_ns = time.monotonic_ns()
        time.sleep(seconds)
        self.blocks.append(Block(kind, began_ns, time.monotonic_ns()))
        if moving:
            moving.cpu_s += moving.cpu_now_s - before[1]
            self.learner_cpu_s += cpu_seconds(learner) - before[0]

    def become(self, kind: str) -> None:
        """Stop and continue what `kind` of block says."""
        os.kill(self.graph.pids["learner"], signal.SIGSTOP if kind == BARE else signal.SIGCONT)
        self.over_ros.show(kind == WITH)
        self.over_zmq.show(kind == ZMQ)

    def seconds(self, *kinds: str) -> float:
        return sum(block.ended_ns - block.began_ns for block in self.blocks if block.kind in kinds) / SECOND


def periods_ms(run: RunDirectory, blocks: Sequence[Block]) -> dict[str, Array]:
    """Kind of block -> [n] ms, control periods in the closed episodes of `run` that lie in a block of that kind.

    A period that holds the robot, after a chunk that was rejected, ends at no command.
    """
    found: dict[str, list[float]] = {kind: [] for kind in (WITH, BARE, ZMQ)}
    for episode in run.closed_episodes():
        for one, next_ in itertools.pairwise(read_messages(run.episode(episode), "/steps")):
            if next_.body["chunk"] - one.body["chunk"] > 1:
                continue
            for block in blocks:
                if block.began_ns <= one.stamp_ns and next_.stamp_ns <= block.ended_ns:
                    found[block.kind].append((next_.stamp_ns - one.stamp_ns) / MS)
    return {kind: np.array(periods) for kind, periods in found.items()}


def looked(frames: Sequence[Sequence[Any]], blocks: Sequence[Block], kind: str) -> tuple[Array, int]:
    """[n] ms, how old the frames were that were shown in a block of that kind; and how many of them never came."""
    ages, lost = [], 0
    for block in blocks:
        if block.kind != kind:
            continue
        shown = [frame for frame in frames if block.began_ns <= frame[2] <= block.ended_ns]
        ages += [age for *_, age in shown]
        for camera in {camera for camera, *_ in shown}:
            numbers = [number for name, number, *_ in shown if name == camera]
            lost += max(numbers) - min(numbers) + 1 - len(set(numbers))
    return np.array(ages), lost


def press(graph: GraphRun, count: int) -> Array:
    """[count] ms from Esc in the page to the beginning of the period in which the guard holds."""
    from playwright.sync_api import sync_playwright

    guard, actor = GuardClient(str(graph.parameters("console")["guard"]), timeout_s=5.0), graph.actor()
    browser_path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    rng, waited = random.Random(0), []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        page = browser.new_page()
        page.goto(f"http://localhost:{graph.parameters('console')['port']}/")
        for _ in range(count):
            graph.wait_for(lambda: np.abs(guard.observe().dq).max() > MOVING, "motion")
            page.wait_for_selector('body[data-state="RUNNING"]')
            time.sleep(rng.uniform(0, PERIOD_MS / 1000))
            pressed_ns = time.monotonic_ns()
            page.keyboard.press("Escape")
            waited.append((held_ns(graph, guard) - pressed_ns) / MS)
            _go_on(graph, guard, actor)
        browser.close()
    guard.close()
    actor.close()
    return np.array(waited)


def held_ns(graph: GraphRun, guard: GuardClient) -> int:
    """When the first control period after the guard's STOP began."""
    stopped = graph.wait_for(lambda: [c for c in guard.state().causes if c.kind == "operator_stop"], "STOP")
    since_ns = max(cause.stamp_ns for cause in stopped)

    def stamp_ns() -> int | None:
        stamp_ns = guard.observe().stamps_ns["robot"]
        return stamp_ns if stamp_ns >= since_ns else None

    return int(graph.wait_for(stamp_ns, "the hold") or 0)


def _go_on(graph: GraphRun, guard: GuardClient, actor: RpcClient) -> None:
    """What a person does about a STOP."""

    def state() -> str:
        return str(actor.call("snapshot", timeout_s=5.0)[0]["state"])

    graph.wait_for(lambda: state() == "STOPPED", "STOPPED")
    for cause in guard.state().causes:
        if cause.clears == "operator":
            command = {"name": "clear", "args": {"cause_id": cause.id}, "author": "benchmark"}
            actor.call("command", command, timeout_s=5.0)
    graph.wait_for(lambda: state() == "PAUSED", "PAUSED")
    actor.call("command", {"name": "run", "args": {}, "author": "benchmark"}, timeout_s=5.0)


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """All processes, and a learner that has begun to learn."""
    environment = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_LOG_DIR": str(folder / "ros-log")}
    with ExitStack() as stack:
        graph = stack.enter_context(graph_run(folder, environment))
        profile = environment | dds_environment(os.environ, images=True)
        over_ros = stack.enter_context(images("ros", "", profile))
        over_zmq = stack.enter_context(images("zmq", f"ipc://{folder}/images", environment))
        graph.wait_for(graph.learnt, "the end of the learner's warm-up")
        made = Bench(graph, over_ros, over_zmq)
        try:
            yield made
        finally:
            os.kill(graph.pids["learner"], signal.SIGCONT)  # who is stopped could not end in order


def measure(minutes: float, presses: int, tell: Callable[[int, int], None]) -> dict[str, Any]:
    """All figures; `tell(done, of)` as the blocks go by."""
    seconds = min(BLOCK_S, minutes * 60)
    turns = max(1, round(minutes * 60 / seconds))
    with TemporaryDirectory(prefix="ros_graph-") as folder, bench(Path(folder)) as made:
        for turn in range(turns):
            kinds = (WITH, BARE, ZMQ)
            for kind in reversed(kinds) if turn % 2 else kinds:
                made.block(kind, seconds / 3 if kind == ZMQ else seconds)
            tell(turn + 1, turns)
        made.become(WITH)
        closed = len(made.graph.run.closed_episodes())
        made.graph.wait_for(lambda: len(made.graph.run.closed_episodes()) > closed, "the end of the last episode")
        stops = press(made.graph, presses)
        ros, zmq = made.over_ros.finish(), made.over_zmq.finish()
        periods = periods_ms(made.graph.run, made.blocks)
    return figures(periods, stops, (ros, zmq), made)


def figures(
    periods: Mapping[str, Array], stops: Array, said: tuple[dict[str, Any], ...], made: Bench
) -> dict[str, Any]:
    """What the measurement comes to."""
    ros, zmq = said
    found: dict[str, Any] = {}
    for kind in (WITH, BARE):
        ticks = periods[kind]
        found[f"ticks_{kind}"] = len(ticks)
        found[f"late_share_{kind}"] = float((ticks > PERIOD_MS + LATE_MS).mean())
        found[f"period_p99_ms_{kind}"] = float(np.percentile(ticks, 99))
    found["p99_ratio"] = found["period_p99_ms_with"] / found["period_p99_ms_bare"]
    for name, one, kind in (("image", ros, WITH), ("zmq", zmq, ZMQ)):
        ages, lost = looked(one["frames"], made.blocks, kind)
        found[f"{name}s"] = len(ages) + lost
        found[f"{name}_loss"] = lost / (len(ages) + lost)
        for percent in (50, 99):
            found[f"{name}_latency_p{percent}_ms"] = float(np.percentile(ages, percent))
    found["image_cpu_share"] = made.over_ros.cpu_s / made.seconds(WITH)
    found["zmq_cpu_share"] = made.over_zmq.cpu_s / made.seconds(ZMQ)
    found["image_cpu_ratio"] = found["image_cpu_share"] / found["zmq_cpu_share"]
    found["stops"] = len(stops)
    for percent in (50, 99):
        found[f"stop_p{percent}_ms"] = float(np.percentile(stops, percent))
    found["learner_cpu_share"] = made.learner_cpu_s / made.seconds(WITH, ZMQ)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table; the last line is JSON; 1 if a figure is not what it must be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ros_graph", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each of both sides (default: %(default)s)")
    parser.add_argument("--presses", type=int, default=PRESSES, help="of Esc (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MINUTES * 60:g} s and {QUICK_PRESSES} presses")
    arguments = parser.parse_args(argv)
    minutes = QUICK_MINUTES if arguments.quick else arguments.minutes
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("turns of blocks", total=None)
        found = measure(
            minutes,
            QUICK_PRESSES if arguments.quick else arguments.presses,
            lambda done, of: bar.update(row, completed=done, total=of),
        )
    missed = [name for name, most in TARGETS.items() if not found[name] <= most]
    table = Table("", "measured", "at most", "", title=f"{found['ticks_with']} command ticks at 20 Hz, and without")
    for name, most in TARGETS.items():
        table.add_row(WORDS[name], f"{found[name]:.3g}", f"{most:g}", "missed" if name in missed else "held")
    table.add_row("ticks late in the bare loop", f"{found['late_share_bare']:.3g}", "", "")
    table.add_row("share of a core that the learner had", f"{found['learner_cpu_share']:.2f}", "", "")
    last = {"benchmark": "ros_graph", "minutes": minutes, **found, "missed": missed, "load": os.getloadavg()[0]}
    show(console, table, "", last)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
