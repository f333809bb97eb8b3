"""A short real-time run in a process of its own, so that a test can kill it and its children.

`python -m tests.realtime_run RUN EPISODES [OPTIONS]` composes and runs what `RealtimeRun` starts; see `main`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import yaml

from robot_rl.compositions.plan import RunPlan, connect_policy, new_run, open_run
from robot_rl.compositions.realtime import run_realtime
from robot_rl.control.actor import Actor
from robot_rl.errors import DeadlineMissed, RobotRLError
from robot_rl.services.guard import GuardClient
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import TASKS_DIR
from robot_rl.types import LabelValue
from robot_rl.wire.rpc import RpcClient

ROOT = Path(__file__).parents[1]
MODULES = {
    "guard": "robot_rl.compositions.guard_process",
    "store": "robot_rl.compositions.store_process",
    "learner": "robot_rl.learn",
    "console": "robot_rl.console",
    "cameras": "sim_twin.camera_process",
}
T = TypeVar("T")


def short_run(folder: Path, max_steps: int = 30, cameras: Sequence[str] = ()) -> RunDirectory:
    """A new run of the lid task with short episodes, a small learner and few `cameras` to draw."""
    run, _ = new_run(folder / "run", str(short_task(folder, max_steps, cameras)), "usr", 0, {})
    return run


def short_task(folder: Path, max_steps: int = 30, cameras: Sequence[str] = ()) -> Path:
    """The task file of such a run."""
    task = yaml.safe_load((TASKS_DIR / "lid_opening.yaml").read_text())
    small = {"warmup_episodes": 2, "hidden": 32, "layers": 2, "batch": 32, "utd": 2.0}
    task |= {"max_steps": max_steps, "methods": {"usr": task["methods"]["usr"] | small}}
    task["protocol"]["baseline_trials"] = 3
    task["policy"]["checkpoint"] = str(TASKS_DIR / task["policy"]["checkpoint"])
    task["scene"]["cameras"] = {name: task["scene"]["cameras"][name] for name in cameras}
    task["limits"]["workspace_high"][0] = 0.8  # m: an untrained policy must not stretch the arm into a singularity
    path = folder / "short.yaml"
    path.write_text(yaml.safe_dump(task))
    return path


class RealtimeRun:
    """The run's parent process, and what can be seen of it from outside."""

    def __init__(self, run: RunDirectory, episodes: int, options: tuple[str, ...]) -> None:
        self.run = run
        command = [sys.executable, "-m", "tests.realtime_run", str(run.path), str(episodes), *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self, timeout_s: float) -> tuple[int, str]:
        """Exit status and output."""
        output, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, output

    def pids(self) -> dict[str, int]:
        """Name -> process id, of this process (`actor`) and its children."""
        children = {"actor": self.process.pid}
        for folder in Path("/proc").glob("[0-9]*"):
            arguments, parent = _of_process(folder)
            if parent == self.process.pid:
                children |= {name: int(folder.name) for name, module in MODULES.items() if module in arguments}
        return children

    def endpoint(self, name: str) -> str:
        """Of `guard`, `actor` or `frames`, from the command lines of the children."""
        option = "--endpoint" if name == "guard" else f"--{name}"
        pid = self.pids()["guard" if name == "guard" else "console"]
        arguments, _ = _of_process(Path(f"/proc/{pid}"))
        return arguments[arguments.index(option) + 1]

    def kill(self, name: str) -> None:
        os.kill(self.pids()[name], signal.SIGKILL)

    def connect(self) -> tuple[GuardClient, RpcClient]:
        """The guard and the actor, as the page reaches them; only with a page."""
        wait_for(lambda: "console" in self.pids(), "the page")
        actor = RpcClient(self.endpoint("actor"))
        wait_for(lambda: answers(actor), "the actor")
        return GuardClient(self.endpoint("guard"), timeout_s=5.0), actor

    def begun(self) -> bool:
        """Whether a first episode is or was under way."""
        return any(self.run.episodes.iterdir())


@contextmanager
def started(run: RunDirectory, episodes: int, *options: str) -> Iterator[RealtimeRun]:
    """A run that is over at the end of the block, its children with it."""
    realtime = RealtimeRun(run, episodes, options)
    try:
        yield realtime
    finally:
        children = realtime.pids().values()
        realtime.process.kill()
        realtime.process.wait(10)
        if realtime.process.stdout:
            realtime.process.stdout.close()
        wait_for(lambda: not any(alive(pid) for pid in children), "the children's end", 10)


def wait_for(ask: Callable[[], T], what: str, timeout_s: float = 30.0) -> T:
    """The first answer of `ask` that is true."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.05)
    return answer


def labels(run: RunDirectory) -> dict[int, tuple[str, LabelValue]]:
    """Episode -> (event id, value) of what has been acknowledged."""
    log = LabelLog(run.labels)
    try:
        return {episode: (event.label.event_id, event.label.value) for episode, event in log.current().items()}
    finally:
        log.close()


def alive(pid: int) -> bool:
    """Whether a process is there, and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def state(actor: RpcClient) -> str:
    """What the page shows largest."""
    return str(actor.call("snapshot", timeout_s=5.0)[0]["state"])


def tell(actor: RpcClient, name: str, **args: object) -> None:
    """A command of a person."""
    actor.call("command", {"name": name, "args": args, "author": "test"}, timeout_s=5.0)


def answers(actor: RpcClient) -> bool:
    try:
        return bool(actor.call("snapshot", timeout_s=0.5))
    except DeadlineMissed:
        return False


def _of_process(folder: Path) -> tuple[list[str], int]:
    """(arguments, parent) of a process; nothing of one that has just ended."""
    try:
        arguments = (folder / "cmdline").read_bytes().decode().split("\0")
        return arguments, int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return [], 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("episodes", type=int)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--human", action="store_true")
    parser.add_argument("--policy", default=None)
    arguments = parser.parse_args()
    run, info, task, policy = open_run(arguments.run)
    port = 0 if arguments.page else None
    acting = connect_policy(arguments.policy, policy)
    plan = RunPlan(run, info, task, acting, arguments.episodes, auto_label=not arguments.human, console_port=port)

    seen = [""]

    def watch(actor: Actor) -> None:
        seen[0] = actor.session.state.value

    try:
        run_realtime(plan, watch, lambda url: print(url, flush=True))
        print(f"seen last: {seen[0]}")
    except RobotRLError as error:
        print(f"error: {error}", flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
