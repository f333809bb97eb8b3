"""Processes that end with the one that started them, and the one that starts them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
GRACE_S = 5.0
"""How long a child may take to end in order before it is killed."""


def end_with_parent() -> None:
    """Be sent SIGTERM when the parent dies, kill -9 included (Linux); elsewhere the parent's own clean-up must do."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os.kill(os.getpid(), signal.SIGTERM)


class Children:
    """The processes of one run, by name; `stop` ends them in the reverse order of their start."""

    def __init__(self, logs: Path) -> None:
        """Their output goes to `logs`/NAME.log."""
        self._logs = logs
        self._logs.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self, name: str, module: str, arguments: Sequence[str], environment: dict[str, str] | None = None) -> int:
        """Run `python -m module arguments`; returns its process id."""
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **(environment or {})},
            )  # fmt: skip
        with self._lock:
            self._processes[name] = process
        return process.pid

    @property
    def pids(self) -> dict[str, int]:
        """Name -> process id, of all that were started."""
        return {name: process.pid for name, process in self._processes.items()}

    def ended(self) -> dict[str, int]:
        """Name -> exit status, of those that are not running any more."""
        polled = {name: process.poll() for name, process in self._processes.items()}
        return {name: status for name, status in polled.items() if status is not None}

    def log_tail(self, name: str, lines: int = 12) -> str:
        """The end of a child's output."""
        path = self._logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def stop(self) -> None:
        """End all of them: SIGTERM in reverse order, a grace period, then SIGKILL."""
        with self._lock:
            running = [process for process in reversed(self._processes.values()) if process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
