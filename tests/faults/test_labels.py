"""One label, posted fifty times at once from the page's sockets and by scripts: one event, the same answer for all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from robot_rl.console.service import ServicePort, for_page
from robot_rl.control.progress import State
from robot_rl.services.guard import operator_handlers
from robot_rl.services.session import Served, session_handlers
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.store import Store
from robot_rl.wire.rpc import RpcClient
from tests.console.serving import serving
from tests.control.cell import Cell
from tests.store.examples import SUCCESS, header

AT_ONCE = 50
LABEL = {"episode": 1, "value": "success", "event_id": "the-one"}


class Desk:
    """The real session, store and console, with an episode that waits for its label."""

    def __init__(self, store: Store, origin: str, actor: str) -> None:
        self.store, self.origin, self.actor = store, origin, actor

    def labels(self) -> list[tuple[str, str]]:
        """(event id, value) of every event of episode 1."""
        return [(event.label.event_id, event.label.value.value) for event in self.store._log.history(1)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(RunDirectory.create(tmp_path / "run", RunInfo("lid", "usr", 0, "ab" * 32, "0.1")))
    cell = Cell(store)  # type: ignore[arg-type]
    cell.start_episode()
    store.begin(header(1))
    cell.session.end_episode("timeout", "time limit")
    store.end(SUCCESS)
    cell.session.close_episode(True)
    cell.session.homed()
    assert cell.session.state is State.AWAIT_LABEL

    def snapshot(lists: str | None) -> Mapping[str, Any]:
        session = cell.session
        return {
            "revision": session.revision, "run": "run", "state": session.state.value, "allowed": session.allowed(),
            "safety": for_page(cell.guard.safety), "lists": "life.1", "episodes": [], "curve": [], "auto_label": False,
        }  # fmt: skip

    def command(name: str, args: Mapping[str, Any], author: str) -> Mapping[str, Any]:
        return cell.session.command(name, args, author, cell.clock.now_ns())

    ends = [f"ipc://{tmp_path}/{name}" for name in ("actor", "guard", "frames")]
    with (
        Served(ends[0], session_handlers(snapshot, command)),
        Served(ends[1], operator_handlers(cell.guard)),
    ):
        port = ServicePort(*ends)
        with serving(port) as origin:
            yield Desk(store, origin, ends[0])
        port.close()
    store.close()


def at_once(post: Any, bodies: list[dict[str, Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(post, bodies))


def test_posts_by_http(desk: Desk) -> None:
    def post(body: dict[str, Any]) -> tuple[int, str]:
        url = f"{desk.origin}/api/command/label"
        answer = httpx.post(url, json=body, headers={"Origin": desk.origin}, timeout=30)
        return answer.status_code, answer.text

    answers = at_once(post, [LABEL] * AT_ONCE)
    assert set(answers) == {answers[0]}
    assert answers[0][0] == 200
    assert json.loads(answers[0][1])["stored"] is True
    assert desk.labels() == [("the-one", "success")]
    status, text = post({**LABEL, "value": "failure"})
    assert status == 409
    assert "the-one" in text
    assert desk.labels() == [("the-one", "success")]


def test_commands_over_the_websocket_of_the_page_in_charge(desk: Desk) -> None:
    url, answers = desk.origin.replace("http", "ws") + "/ws/control", {}
    with connect(url, additional_headers={"Origin": desk.origin}, proxy=None) as socket:
        for key in range(AT_ONCE):
            socket.send(json.dumps({"type": "command", "id": f"{key}", "name": "label", "args": LABEL}))
        while len(answers) < AT_ONCE:
            if (message := json.loads(socket.recv(timeout=30)))["type"] == "ack":
                answers[message["id"]] = message["ok"], json.dumps(message.get("result"))
    assert len(set(answers.values())) == 1
    assert answers["0"][0] is True
    assert desk.labels() == [("the-one", "success")]


def test_calls_to_the_actor(desk: Desk) -> None:
    def call(body: dict[str, Any]) -> str:
        client = RpcClient(desk.actor)
        try:
            request = {"name": "label", "args": body, "author": "page"}
            return json.dumps(client.call("command", request, timeout_s=30.0)[0], sort_keys=True)
        finally:
            client.close()

    assert len(set(at_once(call, [LABEL] * AT_ONCE))) == 1
    assert desk.labels() == [("the-one", "success")]


def test_fifty_different_ids_at_once_leave_one_label(desk: Desk) -> None:
    """Two people press at the same moment: the first one is stored, the others hear that it is no longer awaited."""

    def post(body: dict[str, Any]) -> int:
        url = f"{desk.origin}/api/command/label"
        return httpx.post(url, json=body, headers={"Origin": desk.origin}, timeout=30).status_code

    statuses = at_once(post, [{**LABEL, "event_id": f"id-{number}"} for number in range(AT_ONCE)])
    assert sorted(statuses) == [200] + [409] * (AT_ONCE - 1)
    assert len(desk.labels()) == 1
