from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from robot_rl.errors import DeadlineMissed
from tests.console.scripted import ScriptedPort


def opened(origin: str, path: str) -> ClientConnection:
    return connect(origin.replace("http", "ws") + path, additional_headers={"Origin": origin}, proxy=None)


@pytest.fixture
def control(origin: str) -> Iterator[ClientConnection]:
    with opened(origin, "/ws/control") as socket:
        assert receive(socket)["type"] == "snapshot"
        yield socket


def receive(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=5))
    return message


def send(socket: ClientConnection, name: str, args: dict[str, Any] | None = None) -> None:
    socket.send(json.dumps({"type": "command", "id": name, "name": name, "args": args or {}}))


def test_nothing_is_compressed(control: ClientConnection) -> None:
    assert control.response is not None
    assert "sec-websocket-extensions" not in control.response.headers


def test_an_ack_comes_after_the_snapshot_that_shows_its_effect(control: ClientConnection) -> None:
    send(control, "pause")
    snapshot, ack = receive(control), receive(control)
    assert snapshot["snapshot"]["state"] == "PAUSED"
    assert ack == {"type": "ack", "id": "pause", "ok": True, "result": {"state": "PAUSED"}}


def test_a_stop_is_acknowledged_first_with_the_guards_word(control: ClientConnection) -> None:
    send(control, "stop")
    ack, snapshot = receive(control), receive(control)
    assert ack["result"]["level"] == "STOP"
    assert ack["result"]["epoch"] == snapshot["snapshot"]["safety"]["epoch"] == 4


def test_a_refused_command_has_a_status_and_a_reason(control: ClientConnection) -> None:
    send(control, "arm")
    ack = receive(control)
    assert (ack["ok"], ack["status"], ack["detail"]) == (False, 409, "arm: only in disarmed")


def test_a_stop_does_not_wait_behind_commands_that_hang(
    control: ClientConnection, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        time.sleep(1.0)
        raise DeadlineMissed(name)

    monkeypatch.setattr(port, "command", hang)
    for _ in range(60):  # more than there are threads
        send(control, "pause")
    time.sleep(0.1)
    began = time.monotonic()
    send(control, "stop")
    while receive(control).get("id") != "stop":
        pass
    assert time.monotonic() - began < 0.5


def test_a_beat_comes_back_once_the_guard_has_it(control: ClientConnection, port: ScriptedPort) -> None:
    control.send('{"type": "beat", "t": 12.5}')
    assert receive(control) == {"type": "beat", "t": 12.5, "guard": None}
    assert len(port.renewals) == 1


def test_a_guard_that_is_silent_is_said(
    control: ClientConnection, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> None:
        raise DeadlineMissed("renew: no answer")

    monkeypatch.setattr(port, "renew", silent)
    control.send('{"type": "beat", "t": 1}')
    assert receive(control) == {"type": "beat", "t": 1.0, "guard": "renew: no answer"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "x"}', '{"type": "beat"}', '{"type": "command", "id": 1}'])
def test_a_malformed_message_is_answered_and_the_next_one_served(control: ClientConnection, text: str) -> None:
    control.send(text)
    assert receive(control)["type"] == "error"
    send(control, "pause")
    assert receive(control)["type"] == "snapshot"


def test_snapshots_come_at_10_hz_at_most_and_only_when_something_changed(
    control: ClientConnection, port: ScriptedPort
) -> None:
    with pytest.raises(TimeoutError):
        control.recv(timeout=0.4)
    end, came = time.monotonic() + 1.0, 0
    while time.monotonic() < end:
        port.become("RUNNING")
        try:
            control.recv(timeout=0.01)
        except TimeoutError:
            continue
        came += 1
    assert 5 <= came <= 11


def test_a_credit_is_one_frame_and_the_newest(origin: str, port: ScriptedPort) -> None:
    with opened(origin, "/ws/cam/front") as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.2)  # no credit, no frame
        seqs = []
        for _ in range(3):
            socket.send("next")
            message = socket.recv(timeout=2)
            assert isinstance(message, bytes)
            seq, age_ms = struct.unpack_from("<dd", message)
            newest = port.frame("front")
            assert newest is not None
            assert newest.seq - seq <= 1
            assert 0 < age_ms < 100
            assert message[16:18] == b"\xff\xd8"
            seqs.append(seq)
            time.sleep(0.2)  # a slow viewer
        assert seqs == sorted(set(seqs))
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.2)


@pytest.mark.parametrize("t", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_beat_that_is_no_number_is_refused_and_not_echoed(control: ClientConnection, t: str) -> None:
    control.send(f'{{"type": "beat", "t": {t}}}')
    assert receive(control)["type"] == "error"
    control.send('{"type": "beat", "t": 1.5}')
    assert receive(control) == {"type": "beat", "t": 1.5, "guard": None}


def test_a_camera_that_is_not_there_is_refused_by_the_nearest_name(origin: str) -> None:
    with opened(origin, "/ws/cam/frnt") as socket:
        socket.send("1")
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404
    assert "did you mean 'front'" in closed.value.rcvd.reason
