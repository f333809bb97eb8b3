from __future__ import annotations

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from robot_rl.console.app import create_app
from robot_rl.console.security import bind_loopback, loopback_door
from robot_rl.errors import ConfigError
from tests.console.scripted import ScriptedPort

APP = create_app(ScriptedPort(), loopback_door(1))
POSTS = [route.path for route in APP.routes if isinstance(route, APIRoute) and "POST" in (route.methods or ())]
SOCKETS = [route.path for route in APP.routes if isinstance(route, WebSocketRoute)]
FOREIGN = ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", ""]


def filled(path: str) -> str:
    return path.replace("{name}", "pause")


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("path", POSTS)
def test_a_post_of_another_origin_is_refused(origin: str, port: ScriptedPort, path: str, foreign: str) -> None:
    answer = httpx.post(origin + filled(path), json={}, headers={"origin": foreign})
    assert answer.status_code == 403
    assert "Origin" in answer.json()["detail"]
    assert port.commands == []
    assert port.stops == []


@pytest.mark.parametrize("path", POSTS)
def test_a_post_without_an_origin_is_refused(origin: str, port: ScriptedPort, path: str) -> None:
    assert httpx.post(origin + filled(path), json={}).status_code == 403
    assert port.commands == []
    assert port.stops == []


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("path", SOCKETS)
def test_a_websocket_of_another_origin_is_refused_before_it_opens(origin: str, path: str, foreign: str) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(origin.replace("http", "ws") + filled(path), additional_headers={"Origin": foreign}, proxy=None),
    ):
        pass
    assert refused.value.response.status_code == 403
    assert "wrong Origin" in refused.value.response.body.decode()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1"])
def test_a_foreign_host_gets_nothing(origin: str, host: str) -> None:
    for path in ("/", "/api/snapshot", "/web/app.js"):
        answer = httpx.get(origin + path, headers={"host": host})
        assert answer.status_code == 403
        assert "Host" in answer.json()["detail"]


def test_localhost_by_name_is_served_with_its_own_origin_only(origin: str) -> None:
    named = origin.replace("127.0.0.1", "localhost")
    host = named.removeprefix("http://")
    assert httpx.get(origin, headers={"host": host}).status_code == 200
    for claimed, status in ((named, 200), (origin, 403)):
        answer = httpx.post(f"{origin}/api/command/pause", json={}, headers={"host": host, "origin": claimed})
        assert answer.status_code == status


def test_every_answer_forbids_foreign_content(origin: str) -> None:
    for path in ("/", "/web/style.css", "/api/snapshot", "/nothing"):
        headers = httpx.get(origin + path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "robot.example"])
def test_only_loopback_is_bound(host: str) -> None:
    with pytest.raises(ConfigError, match=r"expected (127\.0\.0\.1|an address)"):
        bind_loopback(host, 0)


def test_a_taken_port_says_so() -> None:
    with bind_loopback("127.0.0.1", 0) as first, pytest.raises(ConfigError, match=r"cannot listen .* in use"):
        bind_loopback("127.0.0.1", first.getsockname()[1])
