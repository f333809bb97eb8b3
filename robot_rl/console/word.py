"""The guard's word stands over a session that has not heard of it.

A STOP goes straight to the guard and is acknowledged by it, a control period before the actor hears of it. Until then
the actor would say that the robot runs; nobody who has been told that it is stopped is told that again.
"""

from __future__ import annotations

import threading
from typing import Any

from robot_rl.console.port import Frame, OperatorPort

LATCHED = {"STOP": "STOPPED", "FAULT": "FAULT"}
"""Level of the guard -> the session's state."""
NOT_YET = "the session has not heard of the stop yet"


class GuardFirst:
    """An `OperatorPort` like the one that it is given, whose snapshots are never older than a STOP acknowledged here.

    A STOP that the actor knows by its epoch, and an actor of another life, which has asked its guard itself, are taken
    as they are.
    """

    def __init__(self, port: OperatorPort) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._word: dict[str, Any] | None = None
        """The newest answer to a STOP, until the actor knows it."""
        self._seen: tuple[Any, str] | None = None
        """Run and life of the actor of the newest snapshot."""

    def snapshot(self) -> dict[str, Any]:
        shown = self._port.snapshot()
        with self._lock:
            actor = shown["run"], shown["lists"].partition(".")[0]
            another = self._seen not in (None, actor)
            self._seen = actor
            if self._word is not None and (another or shown["safety"]["epoch"] >= self._word["epoch"]):
                self._word = None
            safety = self._word or shown["safety"]
        state = LATCHED.get(safety["level"])
        if state is None or shown["state"] in LATCHED.values():
            return shown
        worst = safety["causes"][0]
        refusals = {name: None if name == "stop" else NOT_YET for name in shown["allowed"]}
        why = f"{worst['kind']}: {worst['detail']}"
        return {**shown, "state": state, "why": why, "safety": safety, "awaiting_label": None, "allowed": refusals}

    def command(self, name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        return self._port.command(name, args, author)

    def stop(self, author: str) -> dict[str, Any]:
        word = self._port.stop(author)
        with self._lock:
            if self._word is None or word["epoch"] > self._word["epoch"]:
                self._word = word
        return word

    def renew(self) -> None:
        self._port.renew()

    def frame(self, camera: str) -> Frame | None:
        return self._port.frame(camera)
