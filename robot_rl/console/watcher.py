"""One poll of the port for all viewers: the newest snapshot as text, and a way to wait for the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

import anyio.to_thread

from robot_rl.console.messages import compose
from robot_rl.console.port import OperatorPort
from robot_rl.errors import RobotRLError

log = logging.getLogger(__name__)

PERIOD_S = 0.1
"""Seconds between two snapshots: the page is told at 10 Hz at most."""


class Watcher:
    """Keeps `text`, the newest message for the pages, and `version`, which counts its changes.

    An actor that does not answer is a message like any other: `{"type": "lost", "detail": ...}`.
    """

    def __init__(self, port: OperatorPort) -> None:
        self._port = port
        self._viewers = 0
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.version = 0
        self.text = ""

    async def run(self) -> None:
        """Poll for as long as anyone looks; ends by cancellation."""
        while True:
            if self._viewers:
                await self.refresh()
            await asyncio.sleep(PERIOD_S)

    @contextlib.contextmanager
    def viewer(self) -> Iterator[None]:
        """While entered, the port is polled."""
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def refresh(self) -> None:
        """Ask the port now; on return `text` is not older than this call."""
        async with self._lock:
            text = await self._ask()
            if text != self.text:
                self.text, self.version = text, self.version + 1
                self._changed.set()
                self._changed = asyncio.Event()

    async def newer_than(self, version: int) -> None:
        """Return when `self.version > version`."""
        while self.version <= version:
            await self._changed.wait()

    async def _ask(self) -> str:
        try:
            snapshot = await anyio.to_thread.run_sync(self._port.snapshot)
            return compose({"type": "snapshot", "snapshot": snapshot})
        except RobotRLError as error:
            lost = str(error)
        except Exception:  # whatever an actor of another version says: the poll must go on
            log.exception("the snapshot failed")
            lost = "the console could not read the state; its log says why"
        return compose({"type": "lost", "detail": lost})
