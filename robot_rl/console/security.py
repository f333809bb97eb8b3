"""Who may talk to a service here: only under its own names, from its own page, and where links are needed with a pass.

A page of another site can make a browser send requests here (cross-site requests, DNS rebinding), so that loopback
alone protects nothing: the Host header must be one of our own names, and every websocket and every request that
changes something must carry exactly the page's Origin. Where a one-time link is needed, nothing at all is served to
who has no pass: the link's word, once, is exchanged for a cookie that no script can read and that no other site can
make a browser send, and a redirect takes the word out of the address. Refused before a socket is accepted.
"""

from __future__ import annotations

import html
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from robot_rl.console.access import Access
from robot_rl.console.machine import Address, bracketed
from robot_rl.console.passes import ENTRY, PASS_S, Passes
from robot_rl.errors import ConfigError

LOCKED = "opens by a one-time link: `robot-rl console --url` on the robot's machine prints one"
DEFAULT_PORTS = {"http": 80, "https": 443}
"""A browser leaves these out of the Host header."""
RESPONSE_HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class Door:
    """Under which names a service answers, by which scheme, and to whom."""

    hosts: frozenset[str]
    """Host headers."""
    tls: bool = False
    passes: Passes | None = None
    """None: no link is needed."""

    @classmethod
    def under(cls, names: Iterable[str], port: int, *, tls: bool = False, passes: Passes | None = None) -> Door:
        """`names` are host names and addresses."""
        hosts = {bracketed(name.lower()) for name in names}
        default = hosts if port == DEFAULT_PORTS["https" if tls else "http"] else set()
        return cls(frozenset({*default, *(f"{host}:{port}" for host in hosts)}), tls, passes)

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def cookie(self) -> str:
        """Its name; under TLS one that browsers take from this host alone, Secure and for every path."""
        return "__Host-robot_rl" if self.tls else "robot_rl"


def loopback_door(port: int) -> Door:
    """Of a service that this machine alone reaches."""
    return Door.under(("127.0.0.1", "localhost", "::1"), port)


def listen(address: Address, port: int) -> socket.socket:
    """A listening socket (port 0 picks a free one). Raises `ConfigError` if that is taken, or not ours."""
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address.version == 6 and address.is_unspecified:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 too
    try:
        listener.bind((str(address), port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {bracketed(str(address))}:{port} ({error.strerror}): stop what uses the port or choose "
            "another, and an address of this machine"
        ) from error
    listener.listen(128)
    return listener


def bind_loopback(host: str, port: int) -> socket.socket:
    """As `listen`. Raises `ConfigError` unless `host` is loopback."""
    address = Access(host).address
    if not address.is_loopback:
        raise ConfigError(
            f"this page is for this machine only: expected 127.0.0.1, ::1 or localhost, got {host!r}; "
            f"from another machine use an SSH tunnel (ssh -L {port}:127.0.0.1:{port} ...)"
        )
    return listen(address, port)


class Gate:
    """ASGI middleware: exact Host on everything, exact Origin on websockets and on all but GET and HEAD, then a pass.

    Around the whole application, so that no route can be outside of it.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = self._foreign(scope) or self._locked(scope) or self._app
        await answer(scope, receive, _with_headers(send))

    def _foreign(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0] not in self._door.hosts:
            return _refusal(HTTPStatus.FORBIDDEN, f"wrong Host: expected one of {', '.join(sorted(self._door.hosts))}")
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return None
        expected = f"{self._door.scheme}://{hosts[0]}"
        if origins != [expected]:
            return _refusal(
                HTTPStatus.FORBIDDEN, f"wrong Origin: expected {expected} (a script sends that header itself)"
            )
        return None

    def _locked(self, scope: Scope) -> Response | None:
        door, passes = self._door, self._door.passes
        if passes is None:
            return None
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] == ENTRY:
            words = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
            granted = passes.exchange(words[0]) if len(words) == 1 else None
            if granted is None:
                return _locked(scope, f"this link is unknown, too old or was used: the page {LOCKED}")
            answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
            answer.set_cookie(
                door.cookie, granted, max_age=int(PASS_S), httponly=True, samesite="strict", secure=door.tls
            )
            return answer
        cookies = cookie_parser("; ".join(Headers(scope=scope).getlist("cookie")))
        return None if passes.known(cookies.get(door.cookie, "")) else _locked(scope, f"no pass: the page {LOCKED}")


def _refusal(status: HTTPStatus, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status_code=status)


def _locked(scope: Scope, detail: str) -> Response:
    if "text/html" not in Headers(scope=scope).get("accept", ""):
        return _refusal(HTTPStatus.UNAUTHORIZED, detail)
    # After a link on another site's page, a browser sends a strict cookie from the next click on.
    words = f"<p>{html.escape(detail)}.</p><p>Came by a fresh link? <a href='/'>Go on</a>.</p>"
    return HTMLResponse(f"<!doctype html><title>robot_rl</title>{words}", HTTPStatus.UNAUTHORIZED)


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in RESPONSE_HEADERS.items():
                headers[name] = value
        await send(message)

    return sender
