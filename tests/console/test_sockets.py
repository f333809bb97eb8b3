from __future__ import annotations

import itertools
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from robot_rl.console.messages import LIMIT_BYTES
from robot_rl.errors import (
    ConfigError,
    DeadlineMissed,
    IllegalTransition,
    LabelConflict,
    NoSuchEpisode,
    RobotFault,
    RobotRLError,
    StoreError,
)
from tests.console.scripted import ScriptedPort


def opened(origin: str, path: str) -> ClientConnection:
    return connect(origin.replace("http", "ws") + path, additional_headers={"Origin": origin}, proxy=None)


@pytest.fixture
def control(origin: str, port: ScriptedPort) -> Iterator[ClientConnection]:
    """Of a page in charge, while the robot moves."""
    port.become("DISARMED")
    with opened(origin, "/ws/control") as socket:
        assert lease(socket) == "yours"
        assert receive(socket)["type"] == "snapshot"
        assert wait_until(lambda: port.commands == [("take_over", {})])
        port.restart()
        assert receive(socket)["snapshot"]["state"] == "RUNNING"
        yield socket


def receive(socket: ClientConnection) -> dict[str, Any]:
    """The next message that is not about the lease."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=5))
        if message["type"] != "lease":
            return message


def lease(socket: ClientConnection) -> str:
    """What the next message about the lease says."""
    while True:
        message = json.loads(socket.recv(timeout=5))
        if message["type"] == "lease":
            return str(message["lease"])


def send(socket: ClientConnection, name: str, args: dict[str, Any] | None = None) -> None:
    socket.send(json.dumps({"type": "command", "id": name, "name": name, "args": args or {}}))


def answer(socket: ClientConnection, name: str) -> dict[str, Any]:
    """The acknowledgement of a command."""
    send(socket, name)
    while (message := receive(socket))["type"] != "ack":
        pass
    return message


def test_one_page_is_in_charge_and_the_others_watch(origin: str, port: ScriptedPort) -> None:
    with opened(origin, "/ws/control") as first, opened(origin, "/ws/control") as second:
        assert (lease(first), lease(second)) == ("yours", "another's")
        refused = answer(second, "pause")
        assert (refused["ok"], refused["status"]) == (False, 409)
        assert "this page watches" in refused["detail"]
        second.send('{"type": "beat", "t": 1.0}')
        assert receive(second) == {"type": "beat", "t": 1.0, "guard": None}
        assert (port.commands, port.renewals) == ([("take_over", {})], []), "who watches keeps no robot moving"
        assert answer(second, "stop")["ok"]
        assert len(port.stops) == 1
        assert answer(first, "clear")["status"] == 422  # it may: its arguments are looked at


def test_taking_over_pauses_and_tells_both(origin: str, port: ScriptedPort) -> None:
    with opened(origin, "/ws/control") as first, opened(origin, "/ws/control") as second:
        assert (lease(first), lease(second)) == ("yours", "another's")
        assert answer(second, "take_over")["result"] == {"state": "PAUSED"}
        assert lease(first) == "another's"
        assert answer(first, "run")["status"] == 409
        assert answer(second, "run")["ok"]
        assert [name for name, _ in port.commands] == ["take_over", "take_over", "run"]


def test_whoever_watches_is_not_put_in_charge_by_somebodys_leaving(origin: str) -> None:
    with opened(origin, "/ws/control?watch") as watching:
        assert lease(watching) == "nobody's"
        with opened(origin, "/ws/control") as first:
            assert lease(first) == "yours"
            assert lease(watching) == "another's"
        assert lease(watching) == "nobody's"
        with opened(origin, "/ws/control") as next_one:
            assert lease(next_one) == "yours"


def wait_until(came: Callable[[], bool]) -> bool:
    """Whether it came, within 2 s."""
    end = time.monotonic() + 2
    while not (there := came()) and time.monotonic() < end:
        time.sleep(0.01)
    return there


def test_nothing_moves_for_a_page_that_comes_before_its_person_says_so(
    origin: str, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever let it move is gone, or the console that knew them is: nobody has looked since."""
    honest = port.command
    silent = threading.Event()

    def command(name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        if not silent.is_set():
            raise DeadlineMissed("command: no answer")
        return honest(name, args, author)

    monkeypatch.setattr(port, "command", command)
    with opened(origin, "/ws/control") as page:
        assert lease(page) == "yours"
        for t in (1.0, 2.0):
            page.send(json.dumps({"type": "beat", "t": t}))
            while (message := receive(page))["type"] != "beat":
                pass
            assert message == {"type": "beat", "t": t, "guard": None}
            time.sleep(0.3)
        assert port.renewals == [], "the actor could not be told to pause: the guard's deadline holds the robot"
        send(page, "run")  # waits as well
        silent.set()
        assert wait_until(lambda: [name for name, _ in port.commands] == ["take_over", "run"])
        page.send('{"type": "beat", "t": 3.0}')
        assert wait_until(lambda: len(port.renewals) == 1)


def test_whom_is_taken_over_from_commands_nothing_meanwhile(
    control: ClientConnection, origin: str, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = port.command

    def command(name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        if name == "take_over":
            time.sleep(0.4)
        return honest(name, args, author)

    monkeypatch.setattr(port, "command", command)
    with opened(origin, "/ws/control") as second:
        assert lease(second) == "another's"
        send(second, "take_over")
        assert lease(control) == "another's"
        assert answer(control, "run")["status"] == 409
        assert wait_until(lambda: port.state == "PAUSED")


def test_if_what_moves_cannot_be_paused_nobody_is_in_charge(
    control: ClientConnection, origin: str, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> dict[str, Any]:
        raise DeadlineMissed("command: no answer")

    with opened(origin, "/ws/control") as second:
        assert lease(second) == "another's"
        monkeypatch.setattr(port, "command", refuse)
        assert answer(second, "take_over")["status"] == 503
        assert lease(control) == "another's"
        assert lease(control) == "nobody's"


def test_a_twin_that_labels_itself_needs_no_page(origin: str, port: ScriptedPort) -> None:
    port.restart(auto_label=True)
    with opened(origin, "/ws/control") as page:
        assert lease(page) == "yours"
    with opened(origin, "/ws/control") as page:
        assert lease(page) == "yours"
    assert port.commands == []


def test_a_script_takes_nothing_over(origin: str, port: ScriptedPort) -> None:
    answered = httpx.post(f"{origin}/api/command/take_over", json={}, headers={"origin": origin})
    assert answered.status_code == 409
    assert port.commands == []


def test_while_a_page_is_in_charge_a_script_can_only_stop(origin: str, port: ScriptedPort) -> None:
    label = {"episode": 42, "value": "success", "event_id": "a"}

    def post(name: str, args: dict[str, Any] | None = None) -> httpx.Response:
        return httpx.post(f"{origin}/api/command/{name}", json=args or {}, headers={"origin": origin})

    with opened(origin, "/ws/control?watch") as watching, opened(origin, "/ws/control") as first:
        assert lease(first) == "yours"
        assert wait_until(lambda: port.commands == [("take_over", {})])
        port.restart()
        for name, args in (("label", label), ("pause", {}), ("undo", {"episode": 3}), ("clear", {"cause_id": "x"})):
            refused = post(name, args)
            assert refused.status_code == 409
            assert "a page is in charge" in refused.json()["detail"]
        assert port.commands == []
        assert post("stop").status_code == 200
        port.become("AWAIT_LABEL")
        first.close()
        while lease(watching) != "nobody's":
            pass
        assert post("label", label).status_code == 200, "a page that watches is not in charge"
    assert port.commands == [("label", label)]


def test_nothing_is_compressed(control: ClientConnection) -> None:
    assert control.response is not None
    assert "sec-websocket-extensions" not in control.response.headers


def test_an_ack_comes_after_the_snapshot_that_shows_its_effect(control: ClientConnection) -> None:
    send(control, "pause")
    snapshot, ack = receive(control), receive(control)
    assert snapshot["snapshot"]["state"] == "PAUSED"
    assert ack == {"type": "ack", "id": "pause", "ok": True, "result": {"state": "PAUSED"}}


def test_a_stop_is_acknowledged_first_with_the_guards_word(control: ClientConnection, port: ScriptedPort) -> None:
    send(control, "stop")
    ack, snapshot = receive(control), receive(control)
    assert ack["result"]["level"] == "STOP"
    assert ack["result"]["epoch"] == snapshot["snapshot"]["safety"]["epoch"] == port.epoch


def test_no_snapshot_after_a_stop_is_acknowledged_says_that_the_robot_runs(
    control: ClientConnection, origin: str, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, steps = port.snapshot(), itertools.count(38)

    def lagging() -> dict[str, Any]:
        """An actor that has not heard of the stop."""
        return {**before, "step": next(steps)}

    with monkeypatch.context() as patched:
        patched.setattr(port, "snapshot", lagging)
        send(control, "stop")
        while (message := receive(control))["type"] != "ack":
            assert message["snapshot"]["state"] == "RUNNING"
        for _ in range(4):
            shown = receive(control)["snapshot"]
            assert (shown["state"], shown["safety"]) == ("STOPPED", message["result"])
            assert [name for name, why in shown["allowed"].items() if why is None] == ["stop"]
        assert httpx.get(f"{origin}/api/snapshot").json()["state"] == "STOPPED"
    while receive(control)["snapshot"]["allowed"]["clear"] is not None:
        pass  # one of before was on its way
    send(control, "clear", {"cause_id": "stop-4"})
    assert receive(control)["snapshot"]["state"] == "PAUSED"


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
    answer = receive(control)
    assert (answer["type"], answer["status"]) == ("error", 422)
    assert answer["detail"]
    send(control, "pause")
    assert receive(control)["type"] == "snapshot"


def test_a_message_that_is_too_large_ends_its_connection_alone(origin: str, control: ClientConnection) -> None:
    with opened(origin, "/ws/control") as another:
        another.send(" " * (LIMIT_BYTES + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            list(another)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    send(control, "pause")
    assert receive(control)["snapshot"]["state"] == "PAUSED"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "text",
    ['{{"type": "beat", "t": {}}}', '{{"type": "command", "id": "a", "name": "pause", "args": {{"now": [{}]}}}}'],
)
def test_a_number_that_is_not_finite_is_refused_and_not_echoed(
    control: ClientConnection, port: ScriptedPort, text: str, number: str
) -> None:
    control.send(text.format(number))
    answer = receive(control)
    assert (answer["type"], answer["status"]) == ("error", 422)
    assert "finite" in answer["detail"]
    assert (port.commands, port.renewals) == ([], [])
    control.send('{"type": "beat", "t": 1.5}')
    assert receive(control) == {"type": "beat", "t": 1.5, "guard": None}


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (IllegalTransition("pause: only in running"), 409),
        (LabelConflict("labelled since"), 409),
        (NoSuchEpisode("cannot label episode 7: there is none"), 404),
        (ConfigError("argument 'episode': expected an integer"), 422),
        (DeadlineMissed("command: no answer"), 503),
        (StoreError("the disk is full"), 500),
        (RobotFault("reflex"), 500),
        (ZeroDivisionError("not told to anyone"), 500),
    ],
)
def test_a_refusal_has_one_status_on_the_socket_and_by_post(
    origin: str,
    port: ScriptedPort,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    status: int,
) -> None:
    def refuse(*_: object) -> dict[str, Any]:
        raise raised

    port.restart(auto_label=True)
    monkeypatch.setattr(port, "command", refuse)
    by_post = httpx.post(f"{origin}/api/command/pause", headers={"origin": origin})
    with opened(origin, "/ws/control") as control:
        ack = answer(control, "pause")
    assert (ack["type"], ack["status"], by_post.status_code) == ("ack", status, status)
    assert ack["detail"] == by_post.json()["detail"]
    if isinstance(raised, RobotRLError):
        assert ack["detail"] == str(raised)
    else:
        assert "its log says more" in ack["detail"]


@pytest.mark.parametrize(
    ("name", "args", "status"),
    [("labell", {}, 404), ("pause", {"now": True}, 422), ("label", {"episode": 2**63}, 422), ("arm", {}, 409)],
)
def test_a_caller_in_the_wrong_is_told_so(
    control: ClientConnection, name: str, args: dict[str, Any], status: int
) -> None:
    send(control, name, args)
    ack = receive(control)
    assert (ack["ok"], ack["status"]) == (False, status)


def test_a_stop_is_not_refused_for_what_comes_with_it(control: ClientConnection, port: ScriptedPort) -> None:
    send(control, "stop", {"why": "it burns"})
    assert receive(control)["ok"]
    assert len(port.stops) == 1


def test_what_a_command_came_to_is_valid_json(
    control: ClientConnection, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "command", lambda *_: {"loss": float("nan")})
    send(control, "pause")
    assert receive(control)["result"] == {"loss": None}


def test_a_snapshot_that_is_no_json_is_said_and_the_next_one_shown(
    control: ClientConnection, port: ScriptedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(port, "snapshot", lambda: {"state": b"RUNNING"})
        assert receive(control)["type"] == "lost"
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


def test_the_lists_of_a_long_run_come_once_for_each_change(origin: str, port: ScriptedPort) -> None:
    """At 10 Hz, what grows with the run would be most of what is sent, and more every hour."""
    port.restart("PAUSED", episode=461)
    with opened(origin, "/ws/control") as socket:
        whole = receive(socket)["snapshot"]
        assert (len(whole["episodes"]), len(whole["curve"])) == (460, 460)
        assert wait_until(lambda: port.commands == [("take_over", {})])
        for state in ("RUNNING", "PAUSED"):
            port.become(state)
            rest = receive(socket)["snapshot"]
            assert rest["state"] == state
            assert len(json.dumps(rest)) < 8000 < len(json.dumps(whole)) / 5
            assert rest.keys() == whole.keys() - {"episodes", "curve"}
        port.lost = DeadlineMissed("snapshot: no answer")
        assert receive(socket)["type"] == "lost"
        port.labels.append((7, "discard"))
        port.lost = None
        corrected = receive(socket)["snapshot"]
        assert corrected["episodes"][6]["label"] == "discard"
        assert len(corrected["curve"]) == 459
        with opened(origin, "/ws/control") as another:
            assert receive(another)["snapshot"] == corrected, "whoever comes later has them too"


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


def refused(origin: str, camera: str) -> tuple[int, str]:
    """Close code and reason of a camera's websocket."""
    with opened(origin, f"/ws/cam/{camera}") as socket, pytest.raises(ConnectionClosedError) as closed:
        socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_a_camera_that_is_not_there_is_refused_by_the_nearest_name(origin: str) -> None:
    assert refused(origin, "frnt") == (4404, "no camera 'frnt'; did you mean 'front'? valid: front, side, wrist")


@pytest.mark.parametrize("name", ["k" * 500, quote("ë" * 60), quote("摄像头" * 20), "%00", "%ff"])
def test_a_camera_of_any_name_is_refused_with_a_reason_that_fits(origin: str, name: str) -> None:
    code, reason = refused(origin, name)
    assert code == 4404
    assert reason.startswith("no camera")
    assert reason.endswith("valid: front, side, wrist")


def test_a_camera_without_a_picture_is_refused_while_nobody_says_whether_it_is_there(
    origin: str, port: ScriptedPort
) -> None:
    port.lost = DeadlineMissed("snapshot: no answer")
    assert refused(origin, "frnt") == (4503, "snapshot: no answer")
    with opened(origin, "/ws/cam/front") as socket:
        socket.send("next")
        assert socket.recv(timeout=2)
