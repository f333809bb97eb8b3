"""One poll of the port for all viewers: the newest snapshot as text, and a way to wait for the next.

The lists of a run grow with it and change with an episode or a label, the rest ten times a second: a viewer gets them
once for each change, and every other snapshot without them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import anyio.to_thread

from robot_rl.console.messages import compose
from robot_rl.console.port import LISTS, OperatorPort
from robot_rl.errors import RobotRLError

log = logging.getLogger(__name__)

PERIOD_S = 0.1
"""Seconds between two snapshots: the page is told at 10 Hz at most."""


class Watcher:
    """Keeps the newest message for the pages (`message`), and `version`, which counts its changes.

    An actor that does not answer is a message like any other: `{"type": "lost", "detail": ...}`.
    """

    def __init__(self, port: OperatorPort) -> None:
        self._port = port
        self._viewers = 0
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self.version = 0
        self._text = ""
        self._rest: dict[str, Any] | None = None
        """The newest snapshot without its lists; None: lost."""
        self._lists: dict[str, Any] = {}
        self._listed = 0
        """Counts their changes."""
        self._whole = (-1, "")
        """The message with the lists, and its version."""

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
        """Ask the port now; on return `message` is not older than this call."""
        async with self._lock:
            before = self._text, self._listed
            self._text = await self._ask()
            if (self._text, self._listed) != before:
                self.version += 1
                self._changed.set()
                self._changed = asyncio.Event()

    def message(self, listed: int) -> tuple[str, int]:
        """The newest text for a viewer that has the lists of number `listed` (0: none), and the number it has then."""
        if self._rest is None or listed == self._listed:
            return self._text, listed
        if self._whole[0] != self.version:
            whole = compose({"type": "snapshot", "snapshot": {**self._rest, **self._lists}})
            self._whole = self.version, whole
        return self._whole[1], self._listed

    async def newer_than(self, version: int) -> None:
        """Return when `self.version > version`."""
        while self.version <= version:
            await self._changed.wait()

    async def _ask(self) -> str:
        try:
            snapshot = await anyio.to_thread.run_sync(self._port.snapshot)
            rest = {name: value for name, value in snapshot.items() if name not in LISTS}
            text = compose({"type": "snapshot", "snapshot": rest})
            if (lists := {name: snapshot[name] for name in LISTS}) != self._lists:
                compose(lists)  # what is no JSON is said now, to all
                self._lists, self._listed = lists, self._listed + 1
            self._rest = rest
            return text
        except RobotRLError as error:
            lost = str(error)
        except Exception:  # whatever an actor of another version says: the poll must go on
            log.exception("the snapshot failed")
            lost = "the console could not read the state; its log says why"
        self._rest = None
        return compose({"type": "lost", "detail": lost})
