"""The operator's port over sockets: how the console, a process of its own, reaches actor, guard and cameras.

STOP and the heartbeat go to the guard directly, each over a connection of its own, so that neither waits behind the
other or behind a busy actor. `stamp_ns` of a frame is the host's monotonic clock (`RealClock`), also when the twin's
time is stepped: the page's age badge is about the picture reaching a person.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from robot_rl.clock import MS
from robot_rl.console.port import LISTS, Frame
from robot_rl.types import SafetyState
from robot_rl.wire.latest import Latest
from robot_rl.wire.rpc import RpcClient
from robot_rl.wire.schemas import from_plain

SNAPSHOT_TIMEOUT_S = 1.0
COMMAND_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 3.0
RENEW_TIMEOUT_S = 0.4
"""Less than the operator's deadline: a renewal that comes later renews nothing."""


class ServicePort:
    """Implements `OperatorPort` on three endpoints; `close` ends its one thread."""

    def __init__(self, actor: str, guard: str, frames: str) -> None:
        self._snapshot = RpcClient(actor)
        self._command = RpcClient(actor)
        self._stop = RpcClient(guard)
        self._renew = RpcClient(guard)
        self._lists: dict[str, Any] = {}
        """The newest, and their name: the actor sends them once for each change."""
        self._frames: dict[str, tuple[int, int, bytes]] = {}
        self._closing = threading.Event()
        self._receiver = threading.Thread(target=self._receive, args=(frames,), name="frames", daemon=True)
        self._receiver.start()

    def snapshot(self) -> dict[str, Any]:
        known = self._lists
        state, _ = self._snapshot.call("snapshot", {"lists": known.get("lists")}, timeout_s=SNAPSHOT_TIMEOUT_S)
        whole = {**known, **state}
        self._lists = {name: whole[name] for name in ("lists", *LISTS) if name in whole}
        return whole

    def command(self, name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        request = {"name": name, "args": args, "author": author}
        result, _ = self._command.call("command", request, timeout_s=COMMAND_TIMEOUT_S)
        return dict(result)

    def stop(self, author: str) -> dict[str, Any]:
        request = {"author": author, "reason": "STOP on the operator's page"}
        reply, _ = self._stop.call("stop", request, timeout_s=STOP_TIMEOUT_S)
        return for_page(from_plain(SafetyState, reply.get("safety"), ()))

    def renew(self) -> None:
        self._renew.call("renew", timeout_s=RENEW_TIMEOUT_S)

    def frame(self, camera: str) -> Frame | None:
        newest = self._frames.get(camera)
        if newest is None:
            return None
        seq, stamp_ns, jpeg = newest
        return Frame(seq, (time.monotonic_ns() - stamp_ns) / MS, jpeg)

    def close(self) -> None:
        self._closing.set()
        self._receiver.join(timeout=1.0)
        for client in (self._snapshot, self._command, self._stop, self._renew):
            client.close()

    def _receive(self, endpoint: str) -> None:
        source = Latest(endpoint)
        while not self._closing.is_set():
            for camera, (header, jpeg) in source.poll(timeout_ms=100).items():
                seq, stamp_ns = header.get("seq"), header.get("stamp_ns")
                if type(seq) is int and type(stamp_ns) is int:
                    self._frames[camera] = seq, stamp_ns, jpeg
        source.close()


def for_page(safety: SafetyState) -> dict[str, Any]:
    """The guard's word as a snapshot has it: levels by name, no stamps."""
    causes = [
        {"id": cause.id, "kind": cause.kind, "level": cause.level.name, "detail": cause.detail, "clears": cause.clears}
        for cause in safety.causes
    ]
    return {"level": safety.level.name, "epoch": safety.epoch, "causes": causes}
