from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path

import httpx
import pytest

from robot_rl.console.app import WEB
from robot_rl.console.messages import LIMIT_BYTES
from robot_rl.errors import DeadlineMissed
from tests.console.scripted import ScriptedPort
from tests.console.test_security import POSTS


def post(origin: str, path: str, args: object) -> httpx.Response:
    return httpx.post(origin + path, json=args, headers={"origin": origin})


LABEL = {"episode": 42, "value": "success", "event_id": "a"}


def test_the_snapshot_is_valid_json_whatever_the_learner_says(origin: str) -> None:
    snapshot = httpx.get(f"{origin}/api/snapshot").json()
    assert snapshot["state"] == "RUNNING"
    assert snapshot["learner"]["losses"]["temperature"] is None


def test_a_script_that_has_the_lists_is_not_sent_them_again(origin: str, port: ScriptedPort) -> None:
    whole = httpx.get(f"{origin}/api/snapshot").json()
    assert httpx.get(f"{origin}/api/snapshot", params={"lists": "of another life"}).json().keys() == whole.keys()
    rest = httpx.get(f"{origin}/api/snapshot", params={"lists": whole["lists"]}).json()
    assert whole.keys() - rest.keys() == {"episodes", "curve"}


def test_commands_reach_the_session(origin: str, port: ScriptedPort) -> None:
    assert post(origin, "/api/command/pause", {}).json() == {"state": "PAUSED"}
    assert post(origin, "/api/command/run", {}).status_code == 200
    assert post(origin, "/api/command/label", LABEL).status_code == 200
    assert port.commands == [("pause", {}), ("run", {}), ("label", LABEL)]


def test_stop_by_post_answers_with_the_guards_word(origin: str, port: ScriptedPort) -> None:
    for path in ("/api/stop", "/api/command/stop"):
        assert post(origin, path, {}).json()["level"] == "STOP"
    assert len(port.stops) == 2
    assert port.commands == []


@pytest.mark.parametrize(
    ("name", "args", "status", "says"),
    [
        ("arm", {}, 409, "only in disarmed"),
        ("label", LABEL | {"episode": 7, "expected_revision": 9}, 409, "labelled since"),
        ("labell", LABEL, 404, "did you mean 'label'"),
        ("label", LABEL | {"value": "maybe"}, 422, "'success', 'failure' or 'discard'"),
        ("label", LABEL | {"event_id": ""}, 422, "event_id"),
        ("label", LABEL | {"episode": 0}, 422, "episode"),
        ("label", LABEL | {"episode": True}, 422, "episode"),
        ("label", LABEL | {"episode": 2**63}, 422, "episode"),
        ("label", LABEL | {"expected_revision": -1}, 422, "expected_revision"),
        ("label", LABEL | {"expected_revision": 2**63}, 422, "expected_revision"),
        ("label", {"value": "success"}, 422, "episode"),
        ("pause", {"now": True}, 422, "now"),
        ("clear", {}, 422, "cause_id"),
    ],
)
def test_a_refusal_says_why(origin: str, name: str, args: dict[str, object], status: int, says: str) -> None:
    answer = post(origin, f"/api/command/{name}", args)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("body", ["", "[]", "{", '"x"', "{" * 2000, "null", '{"\\ud800": 1}', b"\xff", b'{"\xff": 1}'])
def test_no_body_is_an_error_of_ours(origin: str, body: str | bytes) -> None:
    answer = httpx.post(f"{origin}/api/command/label", content=body, headers={"origin": origin})
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def begun(origin: str, path: str, sends: bytes) -> bytes:
    """The beginning of the answer to a POST of 1 TB of which `sends` has come."""
    host = origin.removeprefix("http://")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: {10**12}\r\n\r\n"
    name, _, number = host.partition(":")
    with socket.create_connection((name, int(number)), timeout=5) as line:
        line.sendall(head.encode() + sends)
        return line.recv(100)


@pytest.mark.parametrize("path", POSTS)
def test_what_is_too_large_is_refused_before_it_has_all_come(origin: str, port: ScriptedPort, path: str) -> None:
    answer = begun(origin, path.replace("{name}", "pause"), b" " * (LIMIT_BYTES + 1))
    if path.endswith("stop"):  # whatever comes with it, and however much
        assert answer.startswith(b"HTTP/1.1 200")
        assert len(port.stops) == 1
    else:
        assert answer.startswith(b"HTTP/1.1 413")
    assert port.commands == []


def test_a_body_of_the_largest_size_is_read(origin: str) -> None:
    body = b"{}".ljust(LIMIT_BYTES)
    answer = httpx.post(f"{origin}/api/command/pause", content=body, headers={"origin": origin})
    assert answer.json() == {"state": "PAUSED"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("body", ["{}", '{{"now": {}}}', '{{"now": [{{"x": {}}}]}}'])
def test_a_number_that_is_not_finite_is_refused_as_such(
    origin: str, port: ScriptedPort, body: str, number: str
) -> None:
    answer = httpx.post(f"{origin}/api/command/pause", content=body.format(number), headers={"origin": origin})
    assert answer.status_code == 422
    assert "finite" in answer.json()["detail"]
    assert port.commands == []


@pytest.mark.parametrize("body", ['{"why": "it burns"}', "NaN", "{", b"\xff"])
def test_a_stop_is_not_refused_for_what_comes_with_it(origin: str, port: ScriptedPort, body: str | bytes) -> None:
    for path in ("/api/stop", "/api/command/stop"):
        answer = httpx.post(origin + path, content=body, headers={"origin": origin})
        assert answer.json()["level"] == "STOP"
    assert len(port.stops) == 2


def test_what_a_command_came_to_is_valid_json(origin: str, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "command", lambda *_: {"loss": float("nan"), "most": float("inf")})
    assert post(origin, "/api/command/pause", {}).json() == {"loss": None, "most": None}


def test_a_silent_actor_is_an_unavailable_service(origin: str, port: ScriptedPort) -> None:
    port.lost = DeadlineMissed("snapshot: no answer")
    answer = httpx.get(f"{origin}/api/snapshot")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "snapshot: no answer"}


def test_what_is_vendored_is_what_it_says_it_is() -> None:
    for source in (WEB / "vendor").glob("*/SOURCE.md"):
        assert (source.parent / "LICENSE").stat().st_size > 1000
        stated = dict(re.findall(r"^sha256 ([0-9a-f]{64})  (\S+)$", source.read_text(), re.MULTILINE))
        files = {p.name for p in source.parent.iterdir()} - {"SOURCE.md", "LICENSE"}
        assert files == set(stated.values())
        for digest, name in stated.items():
            assert hashlib.sha256((source.parent / name).read_bytes()).hexdigest() == digest


def test_the_page_names_no_other_origin() -> None:
    for path in Path(WEB).rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            assert re.findall(r"\b(?:https?|wss?)://\w[\w.-]*", path.read_text()) == [], path
