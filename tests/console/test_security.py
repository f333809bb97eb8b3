from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from robot_rl.console.app import create_app
from robot_rl.console.passes import PASS_S, Passes
from robot_rl.console.recording import Recording
from robot_rl.console.replay import create_replay
from robot_rl.console.security import Door, bind_loopback, loopback_door
from robot_rl.errors import ConfigError
from tests.console.asgi import SOCKET, call, calls
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


# --- the matrix: every route that there is, called in every wrong way -------------------------------------------------

OPEN = (200, 404, 405, 409, 422, "accepted")
"""What a route may say to a caller who is in the right."""


def guarded(folder: Path, *, tls: bool) -> Door:
    return Door.under(["robot.lab", "192.168.1.7"], 8000, tls=tls, passes=Passes(folder))


def right(door: Door) -> dict[str, str]:
    """The headers of a caller who is in the right."""
    assert door.passes is not None
    granted = door.passes.exchange(door.passes.new_link())
    return {
        "host": "robot.lab:8000",
        "origin": f"{door.scheme}://robot.lab:8000",
        "cookie": f"other=1; {door.cookie}={granted}",
    }


def holes(app: FastAPI, door: Door) -> set[str]:
    """Every route of `app` that answers to who is in the wrong, or not to who is in the right."""
    good = right(door)
    found = set()
    for method, path in calls(app):
        wrongs = [
            (403, {"host": "evil.example:8000"}),
            (403, {"host": "robot.lab"}),
            (401, {"cookie": ""}),
            (401, {"cookie": f"{door.cookie}=guessed"}),
            (401, {"cookie": good["cookie"].replace(door.cookie, "another")}),
        ]
        if method not in ("GET", "HEAD"):
            foreign = ("https://evil.example", "null", "", "http://192.168.1.7:8000", "ftp://robot.lab:8000")
            wrongs += [(403, {"origin": origin}) for origin in foreign]
        for status, wrong in wrongs:
            if (came := call(app, method, path, good | wrong)[0]) != status:
                found.add(f"{method} {path} with {wrong}: expected {status}, got {came}")
        if (came := call(app, method, path, good)[0]) not in OPEN:
            found.add(f"{method} {path}: expected to be let in, got {came}")
    return found


@pytest.mark.parametrize("tls", [True, False])
def test_no_route_is_open_to_who_is_in_the_wrong(folder: Path, tls: bool) -> None:
    door, port = guarded(folder, tls=tls), ScriptedPort()
    app = create_app(port, door)
    assert {SOCKET, "GET", "POST"} <= {method for method, _ in calls(app)}
    assert holes(app, door) == set()
    recorded = create_replay(Recording({}, {"front": []}), door)
    assert len(list(calls(recorded))) == 4
    assert holes(recorded, door) == set()


def test_a_route_that_is_added_is_in_the_matrix_and_behind_the_door(folder: Path) -> None:
    door = guarded(folder, tls=True)
    app = create_app(ScriptedPort(), door)

    @app.post("/api/later")
    async def later() -> None:
        pass

    @app.websocket("/ws/later")
    async def later_socket(socket: WebSocket) -> None:
        await socket.accept()

    assert {("POST", "/api/later"), (SOCKET, "/ws/later")} <= set(calls(app))
    assert holes(app, door) == set()


def test_the_matrix_finds_a_route_that_is_not_behind_the_door(folder: Path) -> None:
    door = guarded(folder, tls=True)
    house = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    house.add_route("/back", lambda _: PlainTextResponse("come in"), ["POST"])

    @house.websocket("/cellar")
    async def cellar(socket: WebSocket) -> None:
        await socket.accept()

    house.mount("/front", create_app(ScriptedPort(), door))
    found = {hole.split(" with")[0] for hole in holes(house, door)}
    assert found == {"POST /back", f"{SOCKET} /cellar"}


# --- links and cookies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [True, False])
def test_a_link_opens_the_page_once_and_its_word_leaves_the_address(folder: Path, tls: bool) -> None:
    door = guarded(folder, tls=tls)
    app, host = create_app(ScriptedPort(), door), {"host": "192.168.1.7:8000"}
    assert door.passes is not None
    word = door.passes.new_link()
    status, headers = call(app, "GET", f"/enter?token={word}", host)
    assert (status, headers["location"]) == (303, "/")
    name, _, rest = headers["set-cookie"].partition("=")
    granted, *attributes = rest.split("; ")
    assert name == ("__Host-robot_rl" if tls else "robot_rl")
    expected = {"HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={PASS_S:.0f}", *(["Secure"] if tls else [])}
    assert set(attributes) == expected
    assert word not in str(headers)
    assert call(app, "GET", "/", host | {"cookie": f"{name}={granted}"})[0] == 200
    assert call(app, "GET", "/", host)[0] == 401
    assert call(app, "GET", f"/enter?token={word}", host)[0] == 401


@pytest.mark.parametrize(
    ("method", "query", "headers", "status"),
    [
        ("GET", "", {}, 401),
        ("GET", "?token=", {}, 401),
        ("GET", "?token=guessed", {}, 401),
        ("GET", "?token={word}&token={word}", {}, 401),
        ("GET", "?token={word}", {"host": "evil.example"}, 403),
        ("HEAD", "?token={word}", {}, 401),
        ("POST", "?token={word}", {"origin": "https://robot.lab:8000"}, 401),
        ("POST", "?token={word}", {"origin": "https://evil.example"}, 403),
        (SOCKET, "?token={word}", {"origin": "https://robot.lab:8000"}, 401),
    ],
)
def test_what_does_not_open_a_link_does_not_use_it_up(
    folder: Path, method: str, query: str, headers: dict[str, str], status: int
) -> None:
    door = guarded(folder, tls=True)
    app, host = create_app(ScriptedPort(), door), {"host": "robot.lab:8000"}
    assert door.passes is not None
    word = door.passes.new_link()
    assert call(app, method, f"/enter{query.format(word=word)}", host | headers)[0] == status
    assert call(app, "GET", f"/enter?token={word}", host)[0] == 303


def test_a_person_is_told_in_a_page_how_to_get_in(folder: Path) -> None:
    app = create_app(ScriptedPort(), guarded(folder, tls=True))
    asked = {"host": "robot.lab:8000", "accept": "text/html,*/*"}
    status, headers = call(app, "GET", "/", asked)
    assert (status, headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'self';")


def test_without_links_there_is_nothing_to_enter_by(origin: str) -> None:
    assert httpx.get(f"{origin}/enter?token=x").status_code == 404


@pytest.mark.parametrize(("port", "tls"), [(443, True), (80, False)])
def test_a_default_port_is_left_out_as_browsers_do(port: int, tls: bool) -> None:
    hosts = Door.under(["Robot.Lab", "::1"], port, tls=tls).hosts
    assert hosts == {"robot.lab", f"robot.lab:{port}", "[::1]", f"[::1]:{port}"}
    assert "robot.lab" not in Door.under(["robot.lab"], port, tls=not tls).hosts
