"""The client of a control loop: asks and goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from robot_rl.errors import ConfigError, DeadlineMissed, LabelConflict, WireError
from robot_rl.types import Array
from robot_rl.wire.asking import Asking
from robot_rl.wire.rpc import Reply, RpcServer


@pytest.fixture
def endpoint() -> Iterator[str]:
    with TemporaryDirectory() as folder:
        yield f"ipc://{folder}/asking"


class Handlers:
    """Answers when the gate is open; notes what came."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.server: RpcServer | None = None

    def echo(self, header: dict[str, Any], arrays: list[Array]) -> Reply:
        assert self.server is not None
        self.seen.append(("echo", header | {"remaining_s": self.server.remaining_s}))
        assert self.gate.wait(5)
        return {"value": header["value"]}, arrays

    def conflict(self, header: dict[str, Any], arrays: list[Array]) -> Reply:
        raise LabelConflict("expected 3, got 2")

    def cancel(self, header: dict[str, Any], arrays: list[Array]) -> Reply:
        self.seen.append(("cancel", header))
        return {}, ()


@contextmanager
def served(endpoint: str) -> Iterator[Handlers]:
    handlers = Handlers()
    calls = {"echo": handlers.echo, "conflict": handlers.conflict, "cancel": handlers.cancel}
    server, stopping = RpcServer(endpoint, calls), threading.Event()
    handlers.server = server
    thread = threading.Thread(target=lambda: [server.poll(10) for _ in iter(stopping.is_set, True)])
    thread.start()
    try:
        yield handlers
    finally:
        handlers.gate.set()
        stopping.set()
        thread.join(5)
        server.close()


@contextmanager
def asking(endpoint: str) -> Iterator[Asking]:
    client = Asking(endpoint)
    try:
        yield client
    finally:
        client.close()


def in_s(seconds: float) -> float:
    return time.monotonic() + seconds


def test_it_asks_without_waiting_and_takes_the_answer_once(endpoint: str) -> None:
    with served(endpoint) as handlers, asking(endpoint) as client:
        handlers.gate.clear()
        began = time.monotonic()
        client.begin("echo", {"value": 1}, (), in_s(5))
        assert not client.answered(0.02)
        assert time.monotonic() - began < 1.0
        handlers.gate.set()
        assert client.answered(5)
        assert client.take()[0] == {"value": 1}
        with pytest.raises(WireError, match="ask `answered` first"):
            client.take()
        assert 4.0 < handlers.seen[0][1]["remaining_s"] <= 5.0


def test_errors_of_the_server_come_out_as_they_are(endpoint: str) -> None:
    with served(endpoint), asking(endpoint) as client:
        client.begin("conflict", {}, (), in_s(5))
        assert client.answered(5)
        with pytest.raises(LabelConflict, match="expected 3, got 2"):
            client.take()


def test_a_late_reply_is_dropped_and_counted_and_the_server_was_told(endpoint: str) -> None:
    with served(endpoint) as handlers, asking(endpoint) as client:
        client.begin("echo", {"value": 0}, (), in_s(5))
        assert client.answered(5)
        handlers.gate.clear()
        first = client.begin("echo", {"value": 1}, (), in_s(0.05))
        assert client.answered(5)
        with pytest.raises(DeadlineMissed, match="in time"):
            client.take()
        client.begin("echo", {"value": 2}, (), in_s(5))
        handlers.gate.set()
        assert client.answered(5)
        assert client.take()[0] == {"value": 2}
        assert client.late == 1
        assert [seen for seen in handlers.seen if seen[0] == "cancel"] == [("cancel", {"request": first})]


def test_a_new_request_gives_the_former_up(endpoint: str) -> None:
    with served(endpoint) as handlers, asking(endpoint) as client:
        handlers.gate.clear()
        client.begin("echo", {"value": 1}, (), in_s(5))
        assert not client.answered(0.05)
        client.begin("echo", {"value": 2}, (), in_s(5))
        handlers.gate.set()
        assert client.answered(5)
        assert client.take()[0] == {"value": 2}


def test_it_waits_for_a_server_that_is_not_there_and_sends_what_time_is_then_left(endpoint: str) -> None:
    with asking(endpoint) as client:
        client.begin("echo", {"value": 1}, (), in_s(0.05))
        assert client.answered(5)
        with pytest.raises(DeadlineMissed, match="nobody listens"):
            client.take()
        client.begin("echo", {"value": 2}, (), in_s(5))
        assert not client.answered(0.3)
        with served(endpoint) as handlers:
            assert client.answered(5)
            assert client.take()[0] == {"value": 2}
            assert [header["value"] for _, header in handlers.seen] == [2], "what was given up is never sent"
            assert handlers.seen[0][1]["remaining_s"] < 4.75


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        Asking("nonsense")
