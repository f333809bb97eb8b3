"""Calls of an ASGI application without a socket, so that every route can be called in every wrong way in no time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

SOCKET = "WEBSOCKET"
"""In place of a method."""


def calls(app: FastAPI) -> Iterator[tuple[str, str]]:
    """(method, path) of every route, its parameters filled in; of a mount, one file."""
    for route in app.routes:
        if isinstance(route, WebSocketRoute):
            yield SOCKET, filled(route.path)
        elif isinstance(route, Route):
            yield from ((method, filled(route.path)) for method in sorted(route.methods or ()))
        elif isinstance(route, Mount) and isinstance(route.app, FastAPI):
            yield from ((method, route.path + path) for method, path in calls(route.app))
        elif isinstance(route, Mount):
            yield "GET", f"{route.path}/app.js"
        else:
            raise AssertionError(f"a route of a kind that this matrix does not know: {route!r}")


def filled(path: str) -> str:
    for name, value in {"name": "pause", "camera": "front", "number": "0", "index": "0"}.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, path
    return path


def call(app: ASGIApp, method: str, path: str, headers: Mapping[str, str]) -> tuple[int | str, dict[str, str]]:
    """Status and headers of the answer; "accepted" for a websocket that opens."""
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "websocket" if method == SOCKET else "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "extensions": {"websocket.http.response": {}},
        "subprotocols": [],
    }
    coming = [{"type": "websocket.connect"}] if method == SOCKET else [{"type": "http.request", "body": b"{}"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return coming.pop(0) if coming else {"type": scope["type"] + ".disconnect", "code": 1001}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        await asyncio.wait_for(app(scope, receive, send), 10)

    with ThreadPoolExecutor(1) as thread:  # playwright keeps an event loop on the tests' own
        thread.submit(lambda: asyncio.run(run())).result()
    first = sent[0]
    if first["type"] == "websocket.accept":
        return "accepted", {}
    return first["status"], {name.decode(): value.decode() for name, value in first["headers"]}
