"""The store in its own process, and the same store as the actor sees it from another one.

What is recorded during an episode is sent without waiting, so that a slow disk delays no control step; what went wrong
comes out of a later call. `end` says how many messages were sent: if any is missing (a connection was lost in between),
the episode is closed as incomplete and never trained on. Labels and the audit log have a connection of their own and
are acknowledged one by one, after they are on the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robot_rl.errors import StoreError, WireError
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, Manifest
from robot_rl.store.labels import AuditEvent, LabelEvent
from robot_rl.store.records import JSON
from robot_rl.store.store import EpisodeSummary, StorePort
from robot_rl.types import Array, Label, Transition
from robot_rl.wire.rpc import Handler, Reply, RpcClient, RpcServer
from robot_rl.wire.schemas import from_plain, to_plain
from robot_rl.wire.values import Header

AUTHOR = "store service"
"""Who audit events of this service are by."""
POLL_MS = 50
"""Between two looks at the cameras' frames, when nobody asks for anything."""


def serve_store(
    store: StorePort, endpoint: str, stopping: threading.Event, frames: Callable[[], None] = lambda: None
) -> None:
    """Answer for `store` on `endpoint` until `stopping` is set (seen within 0.1 s); the caller closes the store.

    `frames` records the camera frames that have come: often enough that none waits long, and before an episode begins
    or ends, so that an episode has the frames of its own time.
    """
    server = RpcServer(endpoint, StoreService(store, frames).handlers)
    try:
        while not stopping.is_set():
            server.poll(POLL_MS)
            frames()
    finally:
        server.close()


class StoreService:
    """The calls of a `StorePort`, counting what the open episode really got."""

    def __init__(self, store: StorePort, frames: Callable[[], None] = lambda: None) -> None:
        self._store, self._frames = store, frames
        self._recorded = 0
        self.handlers: dict[str, Handler] = {
            "reserve": self._reserve,
            "begin": self._begin,
            "write": self._write,
            "write_image": self._write_image,
            "write_transition": self._write_transition,
            "end": self._end,
            "add_label": self._add_label,
            "undo_label": self._undo_label,
            "record": self._record,
            "episodes": lambda header, arrays: ({"value": to_plain(self._store.episodes(), [])}, ()),
        }

    def _reserve(self, header: Header, arrays: list[Array]) -> Reply:
        self._store.reserve()
        return {}, ()

    def _begin(self, header: Header, arrays: list[Array]) -> Reply:
        self._frames()
        self._store.begin(from_plain(EpisodeHeader, header.get("header"), ()))
        self._recorded = 0
        return {}, ()

    def _write(self, header: Header, arrays: list[Array]) -> Reply:
        message = from_plain(dict[str, Any], header.get("message"), ())
        self._store.write(_text(header, "topic"), _number(header, "stamp_ns"), message)
        self._recorded += 1
        return {}, ()

    def _write_image(self, header: Header, arrays: list[Array]) -> Reply:
        jpeg = from_plain(Array, header.get("jpeg"), arrays)
        self._store.write_image(_text(header, "camera"), _number(header, "stamp_ns"), jpeg.tobytes())
        self._recorded += 1
        return {}, ()

    def _write_transition(self, header: Header, arrays: list[Array]) -> Reply:
        self._store.write_transition(from_plain(Transition, header.get("transition"), arrays))
        self._recorded += 1
        return {}, ()

    def _end(self, header: Header, arrays: list[Array]) -> Reply:
        self._frames()
        outcome = from_plain(EpisodeOutcome, header.get("outcome"), ())
        sent = _number(header, "sent")
        manifest = self._store.end(outcome if sent == self._recorded else replace(outcome, complete=False))
        if sent != self._recorded:
            detail = {"episode": manifest.header.episode, "sent": sent, "recorded": self._recorded}
            self._store.record("messages_lost", AUTHOR, detail)
        return {"value": to_plain(manifest, [])}, ()

    def _add_label(self, header: Header, arrays: list[Array]) -> Reply:
        revision = None if header.get("expected_revision") is None else _number(header, "expected_revision")
        event = self._store.add_label(from_plain(Label, header.get("label"), ()), revision)
        return {"value": to_plain(event, [])}, ()

    def _undo_label(self, header: Header, arrays: list[Array]) -> Reply:
        event = self._store.undo_label(_number(header, "episode"), _text(header, "author"), _text(header, "event_id"))
        return {"value": to_plain(event, [])}, ()

    def _record(self, header: Header, arrays: list[Array]) -> Reply:
        detail = from_plain(dict[str, Any], header.get("detail"), ())
        event = self._store.record(_text(header, "kind"), _text(header, "author"), detail)
        return {"value": to_plain(event, [])}, ()


class StoreClient:
    """Implements `StorePort` over a socket; `close` lets go of the connection only.

    Raises what the store raises, and `DeadlineMissed` when it does not answer within `timeout_s`; `end`, which syncs,
    has `end_s`.
    """

    def __init__(self, endpoint: str, timeout_s: float = 2.0, end_s: float = 20.0) -> None:
        self.timeout_s = timeout_s
        self.end_s = end_s
        self._recording = RpcClient(endpoint)
        self._ledger = RpcClient(endpoint)
        self._sent = 0

    def reserve(self) -> None:
        self._ask("reserve", {})

    def begin(self, header: EpisodeHeader) -> None:
        self._recording.forget_posts()
        self._recording.call("begin", {"header": to_plain(header, [])}, timeout_s=self.timeout_s)
        self._sent = 0

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, JSON]) -> None:
        self._post("write", {"topic": topic, "stamp_ns": stamp_ns, "message": dict(message)})

    def write_image(self, camera: str, stamp_ns: int, jpeg: bytes) -> None:
        header = {"camera": camera, "stamp_ns": stamp_ns, "jpeg": 0}
        self._post("write_image", header, [np.frombuffer(jpeg, np.uint8)])

    def write_transition(self, transition: Transition) -> None:
        arrays: list[Array] = []
        self._post("write_transition", {"transition": to_plain(transition, arrays)}, arrays)

    def end(self, outcome: EpisodeOutcome) -> Manifest:
        header = {"outcome": to_plain(outcome, []), "sent": self._sent}
        reply, _ = self._recording.call("end", header, timeout_s=self.end_s)
        return from_plain(Manifest, reply.get("value"), ())

    def add_label(self, label: Label, expected_revision: int | None = None) -> LabelEvent:
        header = {"label": to_plain(label, []), "expected_revision": expected_revision}
        return from_plain(LabelEvent, self._ask("add_label", header), ())

    def undo_label(self, episode: int, author: str, event_id: str) -> LabelEvent:
        header = {"episode": episode, "author": author, "event_id": event_id}
        return from_plain(LabelEvent, self._ask("undo_label", header), ())

    def record(self, kind: str, author: str, detail: Mapping[str, JSON]) -> AuditEvent:
        header = {"kind": kind, "author": author, "detail": dict(detail)}
        return from_plain(AuditEvent, self._ask("record", header), ())

    def episodes(self) -> list[EpisodeSummary]:
        return from_plain(list[EpisodeSummary], self._ask("episodes", {}), ())

    def close(self) -> None:
        self._recording.close()
        self._ledger.close()

    def _post(self, name: str, header: Header, arrays: Sequence[Array] = ()) -> None:
        self._sent += 1  # also if it fails: the episode is then not complete
        try:
            self._recording.post(name, header, arrays, timeout_s=self.timeout_s)
        except WireError as error:
            raise StoreError(f"{name}: expected what JSON can hold; {error}; not recorded") from error

    def _ask(self, name: str, header: Header) -> Any:
        reply, _ = self._ledger.call(name, header, timeout_s=self.timeout_s)
        return reply.get("value")


def _text(header: Header, name: str) -> str:
    return from_plain(str, header.get(name), ())


def _number(header: Header, name: str) -> int:
    return from_plain(int, header.get(name), ())
