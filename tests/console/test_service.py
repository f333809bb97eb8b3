"""The port over real sockets, and the process that the console is."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from robot_rl.console.port import LISTS, OperatorPort
from robot_rl.console.service import ServicePort
from robot_rl.errors import DeadlineMissed, IllegalTransition
from robot_rl.types import Array, Cause, SafetyLevel, SafetyState
from robot_rl.wire.latest import Publisher
from robot_rl.wire.rpc import Reply, RpcServer
from robot_rl.wire.schemas import to_plain

STOPPED = SafetyState(SafetyLevel.STOP, 5, (Cause("c1", "operator_stop", SafetyLevel.STOP, "Esc", "operator", 9),))


class Ends:
    """An actor, a guard and cameras at the other ends of the sockets, on one thread."""

    def __init__(self, folder: Path) -> None:
        self.actor, self.guard, self.frames = (f"ipc://{folder}/{name}" for name in ("actor", "guard", "frames"))
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.state: dict[str, Any] = {
            "state": "RUNNING", "revision": 1, "run": "one", "allowed": {},
            "lists": "a.1", "episodes": [{"episode": 1}], "curve": [[1, 1]],
            "safety": {"level": "OK", "epoch": 5, "causes": []},
        }  # fmt: skip
        self.lists: list[str | None] = []
        """What each snapshot was asked with."""
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        actor = RpcServer(self.actor, {"snapshot": self._snapshot, "command": self._command})
        guard = RpcServer(self.guard, {"stop": self._stop, "renew": self._renew})
        frames = Publisher(self.frames)
        seq = 0
        while not self.closing.is_set():
            actor.poll(5)
            guard.poll(5)
            seq += 1
            frames.publish("front", {"seq": seq, "stamp_ns": time.monotonic_ns()}, b"\xff\xd8 jpeg")
        for end in (actor, guard, frames):
            end.close()

    def _snapshot(self, header: dict[str, Any], _: list[Array]) -> Reply:
        self.lists.append(header["lists"])
        left_out = LISTS if header["lists"] == self.state["lists"] else ()
        return {name: value for name, value in self.state.items() if name not in left_out}, []

    def _command(self, header: dict[str, Any], _: list[Array]) -> Reply:
        self.heard.append(("command", header))
        if header["name"] == "arm":
            raise IllegalTransition("arm: only in DISARMED")
        return {"state": "PAUSED"}, []

    def _stop(self, header: dict[str, Any], _: list[Array]) -> Reply:
        self.heard.append(("stop", header))
        return {"safety": to_plain(STOPPED, [])}, []

    def _renew(self, header: dict[str, Any], _: list[Array]) -> Reply:
        self.heard.append(("renew", header))
        return {"safety": to_plain(STOPPED, [])}, []


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    ends = Ends(tmp_path)
    ends.thread.start()
    yield ends
    ends.closing.set()
    ends.thread.join(timeout=5)
    assert not ends.thread.is_alive()


@pytest.fixture
def port(ends: Ends) -> Iterator[ServicePort]:
    port = ServicePort(ends.actor, ends.guard, ends.frames)
    yield port
    port.close()


def test_it_is_an_operator_port(port: ServicePort) -> None:
    assert isinstance(port, OperatorPort)


def test_calls_arrive_and_errors_come_back_by_their_class(port: ServicePort, ends: Ends) -> None:
    assert port.snapshot() == ends.state
    assert port.command("pause", {}, "page") == {"state": "PAUSED"}
    with pytest.raises(IllegalTransition, match="only in DISARMED"):
        port.command("arm", {}, "page")
    assert ends.heard[0] == ("command", {"name": "pause", "args": {}, "author": "page"})


def test_the_lists_are_sent_once_for_each_change_and_are_in_every_snapshot(port: ServicePort, ends: Ends) -> None:
    assert [port.snapshot() for _ in range(3)] == 3 * [ends.state]
    ends.state = {**ends.state, "revision": 2, "lists": "a.2", "episodes": [], "curve": []}
    assert [port.snapshot() for _ in range(2)] == 2 * [ends.state]
    assert ends.lists == [None, "a.1", "a.1", "a.1", "a.2"]


def test_a_run_of_many_thousand_episodes_is_shown(port: ServicePort, ends: Ends) -> None:
    rows = [{"episode": number, "label": "success", "author": "page"} for number in range(20_000)]
    ends.state = {**ends.state, "lists": "a.2", "episodes": rows, "curve": [[row["episode"], 1] for row in rows]}
    assert port.snapshot() == ends.state


def test_a_stop_brings_the_guards_word_in_the_pages_words(port: ServicePort, ends: Ends) -> None:
    cause = {"id": "c1", "kind": "operator_stop", "level": "STOP", "detail": "Esc", "clears": "operator"}
    assert port.stop("page") == {"level": "STOP", "epoch": 5, "causes": [cause]}
    port.renew()
    assert [name for name, _ in ends.heard] == ["stop", "renew"]
    assert ends.heard[0][1]["author"] == "page"


def test_frames_are_the_newest_with_their_age(port: ServicePort) -> None:
    end = time.monotonic() + 5
    while (frame := port.frame("front")) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert frame.jpeg == b"\xff\xd8 jpeg"
    assert 0 <= frame.age_ms < 500
    assert port.frame("nowhere") is None


def test_ends_that_are_not_there_are_a_missed_deadline(tmp_path: Path) -> None:
    port = ServicePort(*(f"ipc://{tmp_path}/{name}" for name in ("actor", "guard", "frames")))
    try:
        with pytest.raises(DeadlineMissed):
            port.renew()
    finally:
        port.close()


def test_the_process_serves_the_page_and_ends_when_told(ends: Ends) -> None:
    arguments = ["--actor", ends.actor, "--guard", ends.guard, "--frames", ends.frames, "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "robot_rl.console", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = re.search(r"http://localhost:(\d+)/", process.stdout.readline())
        assert said is not None
        origin = f"http://127.0.0.1:{said[1]}"
        end = time.monotonic() + 10
        while True:
            try:
                answer = httpx.get(f"{origin}/api/snapshot", timeout=2)
                break
            except httpx.TransportError:
                assert time.monotonic() < end
                time.sleep(0.05)
        assert answer.json() == ends.state
        stopped = httpx.post(f"{origin}/api/stop", headers={"origin": origin})
        assert stopped.json()["level"] == "STOP"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()
