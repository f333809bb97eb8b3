"""What tests of the ROS side share: a graph of their own on this machine, and the process that listens to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robot_rl.store.run import RunDirectory
from robot_rl.wire.rpc import RpcClient
from tests.realtime_run import alive, answers, wait_for

ROOT = Path(__file__).parents[2]
DOMAINS = 101
"""Domain ids that need no ports of the system's own."""


def environment(folder: Path) -> dict[str, str]:
    """Of processes that see each other, and nobody else's on this machine or another."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(1 + os.getpid() % DOMAINS),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
        "ROS_LOG_DIR": str(folder / "ros-log"),
        "OMP_NUM_THREADS": "1",
    }


@dataclass(frozen=True)
class Heard:
    """A message as the listener got it."""

    topic: str
    at_ns: int
    """Monotonic."""
    text: str
    """`repr` of the message: every field of it, numbers to their last digit."""


class Listener:
    """A node in another process that subscribes to topics and keeps all that it hears until it is told to stop."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def hear(self, messages: int, timeout_s: float = 20.0) -> list[Heard]:
        """The next `messages`, or fewer when they do not come in time, in the order in which they came."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([messages, timeout_s]) + "\n")
        self._process.stdin.flush()
        return [Heard(*row) for row in json.loads(self._process.stdout.readline())]


@contextmanager
def listening(topics: Mapping[str, str], env: Mapping[str, str], latched: Sequence[str] = ()) -> Iterator[Listener]:
    """Topic -> "package/msg/Name"; of those `latched` also what was said last before.

    The listener subscribes before the block begins, and ends with it.
    """
    command = [sys.executable, "-m", "tests.ros.listener", json.dumps(dict(topics)), *latched]
    process = subprocess.Popen(
        command, cwd=ROOT, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Listener(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def command_line(
    arguments: Sequence[str], env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """`robot-rl` with these arguments."""
    command = [sys.executable, "-m", "robot_rl.cli", *arguments]
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=dict(env), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    print(f"{' '.join(arguments)}: {time.monotonic() - started:.1f} s\n{done.stdout}{done.stderr}")
    return done


class Up:
    """`robot-rl up`, and what can be seen of it from outside."""

    def __init__(self, process: subprocess.Popen[str], run: RunDirectory) -> None:
        self.process, self.run = process, run

    def pids(self) -> dict[str, int]:
        """Node -> process id, of those whose process runs."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            modules = [word for word in words if word.startswith("robot_rl_ros.")]
            if parent == self.process.pid and modules and alive(int(folder.name)):
                found[modules[0].removeprefix("robot_rl_ros.").removesuffix("_node")] = int(folder.name)
        return found

    def parameters(self, node: str) -> dict[str, Any]:
        """What a node was started with."""
        words = Path(f"/proc/{self.pids()[node]}/cmdline").read_bytes().decode().split("\0")
        file = yaml.safe_load(Path(words[words.index("--params-file") + 1]).read_text())
        return dict(file["/**"]["ros__parameters"])

    def actor(self) -> RpcClient:
        """The actor as the page reaches it."""
        client = RpcClient(self.parameters("actor")["actor"])
        wait_for(lambda: answers(client), "the actor")
        return client

    def finish(self, timeout_s: float) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, output


@contextmanager
def up(run: Path, env: Mapping[str, str], *options: str, namespace: str = "cell_1") -> Iterator[Up]:
    """A run whose processes are gone at the end of the block."""
    common = ["--port", "0", "--trials", "0", "--namespace", namespace]
    command = [sys.executable, "-m", "robot_rl.cli", "up", *options, *common]
    process = subprocess.Popen(
        command, cwd=ROOT, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seen = Up(process, RunDirectory(run))
    try:
        yield seen
    finally:
        children = seen.pids().values()
        process.kill()
        process.wait(10)
        if process.stdout:
            process.stdout.close()
        wait_for(lambda: not any(alive(pid) for pid in children), "the nodes' end", 10)


def logs(run: RunDirectory) -> str:
    """The ends of the nodes' logs, for a failure's message."""
    return "\n".join(f"--- {path.name}\n{path.read_text()[-1500:]}" for path in (run.path / "logs").glob("*.log"))
