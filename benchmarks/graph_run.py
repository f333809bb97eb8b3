"""`robot-rl up` for a benchmark: a run as a graph of nodes, what its processes are, and how they are reached.

The lid task, labelled by the twin, without cameras of its own, and with more updates to a chunk than this machine makes
in the time of one: the learner is never without work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from robot_rl.errors import DeadlineMissed
from robot_rl.processes import GRACE_S
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import TASKS_DIR
from robot_rl.wire.rpc import RpcClient

PREFIX, SUFFIX = "robot_rl_ros.", "_node"
ENDLESS = 100_000
"""Episodes."""
UTD = 1000.0
WARMUP = 2
PATIENCE_S = 90.0
INTERRUPTED = 130
T = TypeVar("T")


def endless_task(folder: Path) -> Path:
    """Its file."""
    task = yaml.safe_load((TASKS_DIR / "lid_opening.yaml").read_text())
    task["methods"] = {"usr": task["methods"]["usr"] | {"warmup_episodes": WARMUP, "utd": UTD}}
    task["policy"]["checkpoint"] = str(TASKS_DIR / task["policy"]["checkpoint"])
    task["scene"]["cameras"] = {}
    path = folder / "endless.yaml"
    path.write_text(yaml.safe_dump(task))
    return path


class GraphRun:
    """A graph that runs, seen from outside."""

    def __init__(self, process: subprocess.Popen[bytes], run: RunDirectory) -> None:
        self.process, self.run = process, run

    @property
    def pids(self) -> dict[str, int]:
        """Node -> process id."""
        found = {}
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            modules = [word for word in _command(int(child)) if word.startswith(PREFIX)]
            found |= {modules[0].removeprefix(PREFIX).removesuffix(SUFFIX): int(child)} if modules else {}
        return found

    def parameters(self, node: str) -> dict[str, Any]:
        """What a node was started with."""
        words = _command(self.pids[node])
        file = yaml.safe_load(Path(words[words.index("--params-file") + 1]).read_text())
        return dict(file["/**"]["ros__parameters"])

    def learnt(self) -> bool:
        """Whether the learner is past its warm-up, and busy from now on."""
        return self.run.learner_json.exists() and len(self.run.closed_episodes()) > WARMUP

    def wait_for(self, ask: Callable[[], T], what: str) -> T:
        """The first answer of `ask` that is true. Raises `RuntimeError` when it does not come, or the run ends."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if answer := ask():
                    return answer
            except (DeadlineMissed, KeyError, FileNotFoundError):  # not there yet
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"waited for {what}; the run says:\n{self.output()}")
            time.sleep(0.02)

    def actor(self) -> RpcClient:
        """As the page reaches it; it answers."""
        client = RpcClient(self.wait_for(lambda: str(self.parameters("actor")["actor"]), "the actor's process"))
        self.wait_for(lambda: client.call("snapshot", timeout_s=1.0), "the actor")
        return client

    def output(self) -> str:
        """The ends of what run and nodes have said."""
        files = [self.run.path.with_suffix(".log"), *sorted((self.run.path / "logs").glob("*.log"))]
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-500:]}" for path in files if path.exists())


@contextmanager
def graph_run(folder: Path, environment: dict[str, str]) -> Iterator[GraphRun]:
    """A new run in `folder`, ended in order with the block. Raises `RuntimeError` if it does not end so."""
    run = RunDirectory(folder / "run")
    command = [sys.executable, "-m", "robot_rl.cli", "up", str(endless_task(folder)), "--episodes", str(ENDLESS)]
    with run.path.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--out", str(run.path), "--port", "0", "--trials", "0"], env={**os.environ, **environment},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    graph = GraphRun(process, run)
    try:
        yield graph
        process.send_signal(signal.SIGINT)
        if process.wait(4 * GRACE_S) != INTERRUPTED:
            raise RuntimeError(f"the run ended with status {process.returncode}:\n{graph.output()}")
    finally:
        process.kill()  # the nodes end with it
        process.wait()


def _command(pid: int) -> list[str]:
    """A process's arguments; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []
