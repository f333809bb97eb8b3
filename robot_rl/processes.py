"""Processes that end with the one that started them, and the one that starts them."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from robot_rl.errors import ProcessEnded

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
PARENT = "ROBOT_RL_PARENT"
"""Environment variable with the id of the process that started this one, for `end_with_parent`."""
FIXED = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""Environment of every child."""
GRACE_S = 5.0
"""How long a child may take to end in order before it is killed."""


def end_with_parent() -> None:
    """Be sent SIGTERM when the parent dies, kill -9 included (Linux); elsewhere the parent's own clean-up must do.

    One that `Children` started and whose parent has died before this call is sent it now.
    """
    if sys.platform == "linux":
        parent = int(os.environ.get(PARENT, os.getppid()))
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def own_schedule() -> Iterator[None]:
    """The caller's thread keeps its scheduling class (Linux), whatever a library does to it.

    Where they may (root), libfranka puts the thread that connects into SCHED_FIFO at 99, and SVT-AV1 the one that
    encodes; whatever it starts from then on inherits it, and can keep all others from running.
    """
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def stop_event() -> threading.Event:
    """Set by SIGTERM and SIGINT, however many of them come at once."""
    stopping = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def pass_on() -> None:
        os.read(reader, 1)
        stopping.set()

    threading.Thread(target=pass_on, name="stop", daemon=True).start()
    for name in (signal.SIGTERM, signal.SIGINT):
        # A handler may interrupt itself: setting the event here would wait for a lock that it holds.
        signal.signal(name, lambda *_: os.write(writer, b"."))
    return stopping


def begin_service() -> threading.Event:
    """The start of a run's child process: what it waits for, which its parent's end sets too. Logs to the terminal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stopping = stop_event()
    end_with_parent()
    return stopping


RESTARTS = 3
"""Times a child that may be restarted is; then its end ends the run."""
SETTLED_S = 30.0
"""A child that has run so long since it was started again is no trouble any more."""


@dataclass
class Child:
    """One process, and how it was started."""

    arguments: list[str]
    restart: bool
    finishes: bool
    process: subprocess.Popen[bytes]
    log_begins: int
    """Bytes that an earlier run of this name had left in its log."""
    restarts: int = 0
    restarted_s: float = 0.0
    """On the monotonic clock."""
    trouble: str = ""
    """Why it was started again, the last time."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What it has beside this process's own."""


class Children:
    """The processes of one run, by name; `stop` ends them in the reverse order of their start."""

    def __init__(self, logs: Path) -> None:
        """Their output goes to `logs`/NAME.log."""
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self._children: dict[str, Child] = {}

    def start(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        restart: bool = True,
        finishes: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run `python -m module arguments` with `environment` beside this process's; `restart` it when it ends itself.

        One that `finishes` may end with status 0: its work is then done.
        """
        command = [sys.executable, "-m", module, *arguments]
        log = self._logs / f"{name}.log"
        begins = log.stat().st_size if log.exists() else 0
        own = dict(environment or {})
        process = self._spawn(name, command, own)
        self._children[name] = Child(command, restart, finishes, process, begins, environment=own)

    @property
    def pids(self) -> dict[str, int]:
        """Name -> process id."""
        return {name: child.process.pid for name, child in self._children.items()}

    def alive(self, name: str) -> bool:
        """Whether `name` was started and runs."""
        return name in self._children and self._children[name].process.poll() is None

    def finished(self, name: str) -> bool:
        """Whether `name` has done its work."""
        child = self._children.get(name)
        return child is not None and child.finishes and child.process.poll() == 0

    def tend(self) -> None:
        """Restart what ended and may be restarted. Raises `ProcessEnded` for what may not, or ends again and again."""
        for name, child in self._children.items():
            words = self.last_words(name)
            if words is None or self.finished(name):
                continue
            if not child.restart or child.restarts == RESTARTS:
                raise ProcessEnded(words)
            child.restarts += 1
            child.restarted_s = time.monotonic()
            ended = (
                f"{name} ended with status {child.process.returncode} ({self.log_tail(name, 1) or 'without a word'})"
            )
            child.trouble = f"{ended}; started again, {child.restarts} of {RESTARTS} times"
            log.warning("%s", child.trouble)
            child.process = self._spawn(name, child.arguments, child.environment)

    @property
    def troubles(self) -> list[str]:
        """Of the children that were started again in the last `SETTLED_S`, why: for the operator's page."""
        settled_s = time.monotonic() - SETTLED_S
        return [child.trouble for child in self._children.values() if child.trouble and child.restarted_s > settled_s]

    def last_words(self, name: str) -> str | None:
        """How `name` ended, with the end of its output; None while it runs or if it was never started."""
        status = self._children[name].process.poll() if name in self._children else None
        return None if status is None else f"{name} ended with status {status}; its last words:\n{self.log_tail(name)}"

    def log_tail(self, name: str, lines: int = 12) -> str:
        """The end of a child's output, of this run alone."""
        if name not in self._children:
            return ""
        written = (self._logs / f"{name}.log").read_bytes()[self._children[name].log_begins :]
        return "\n".join(written.decode(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End all of them: SIGTERM in reverse order, a grace period, then SIGKILL."""
        running = [child.process for child in reversed(self._children.values()) if child.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, name: str, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **FIXED, **environment, PARENT: str(os.getpid())},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its children in order
            )
