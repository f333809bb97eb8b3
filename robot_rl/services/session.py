"""The actor's calls for the operator's page, served by a thread beside the control loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from robot_rl.types import Array
from robot_rl.wire.rpc import Handler, Reply, RpcServer
from robot_rl.wire.schemas import from_plain
from robot_rl.wire.values import Header

Snapshot = Callable[[str | None], Mapping[str, Any]]
"""Of the name of the lists that the asker has, if any: what shows the same ones may leave them out."""
CommandCall = Callable[[str, Mapping[str, Any], str], Mapping[str, Any]]


def session_handlers(snapshot: Snapshot, command: CommandCall) -> dict[str, Handler]:
    """`snapshot` {lists?}, and `command` {name, args, author}; both must be callable from another thread."""

    def on_snapshot(header: Header, arrays: list[Array]) -> Reply:
        lists = header.get("lists")
        return dict(snapshot(None if lists is None else from_plain(str, lists, ()))), ()

    def on_command(header: Header, arrays: list[Array]) -> Reply:
        name, author = from_plain(str, header.get("name"), ()), from_plain(str, header.get("author"), ())
        return dict(command(name, from_plain(dict[str, Any], header.get("args", {}), ()), author)), ()

    return {"snapshot": on_snapshot, "command": on_command}


class Served:
    """Serves handlers on an endpoint from a thread of its own until closed; a context manager."""

    def __init__(self, endpoint: str, handlers: Mapping[str, Handler]) -> None:
        self._server = RpcServer(endpoint, dict(handlers))
        self.endpoint = self._server.endpoint
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"serving {endpoint}")

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._server.poll(50)
