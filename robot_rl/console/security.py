"""Who may talk to the console: this machine only, from the page's own origin only.

A page of another site can make a browser send requests here (cross-site requests, DNS rebinding), so that loopback
alone protects nothing: the Host header must be one of our own names, and every websocket and every request that
changes something must carry exactly the page's Origin. Refused before a socket is accepted.
"""

from __future__ import annotations

import ipaddress
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from robot_rl.errors import ConfigError

RESPONSE_HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def bind_loopback(host: str, port: int) -> socket.socket:
    """A listening socket on `host`:`port` (0 picks a free one). Raises `ConfigError` unless `host` is loopback."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise ConfigError(
            f"the console listens on this machine only: expected 127.0.0.1, ::1 or localhost, got {host!r}; "
            f"from another machine use an SSH tunnel (ssh -L {port}:127.0.0.1:{port} ...)"
        )
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"port {port} is not free ({error.strerror}): stop what uses it or choose --port") from error
    listener.listen(128)
    return listener


def authorities(port: int) -> frozenset[str]:
    """The Host headers under which a loopback service on `port` is known."""
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))


class OriginGate:
    """ASGI middleware: exact Host on everything, exact Origin on websockets and on all but GET and HEAD."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        else:
            await JSONResponse({"detail": refusal}, status_code=403)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return f"wrong Host: expected one of {', '.join(sorted(self._hosts))}"
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return None
        if origins != [f"http://{hosts[0]}"]:
            return f"wrong Origin: expected http://{hosts[0]} (a script sends that header itself)"
        return None


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in RESPONSE_HEADERS.items():
                headers[name] = value
        await send(message)

    return sender
