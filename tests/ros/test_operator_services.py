"""Commands and labels over ROS, on real rclpy and a real session: what it allows, and what it refuses and why."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robot_rl.console.service import for_page
from robot_rl.errors import RobotFault
from robot_rl.services.session import Served, session_handlers
from robot_rl.types import LabelValue
from tests.control.cell import Cell
from tests.ros.graph import environment

pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot_rl_ros.node import ros_node
from robot_rl_ros.operator_services import TRIGGERS, OperatorServices
from std_srvs.srv import Trigger

ANSWER_S = 20.0
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
"""Of what rosidl's Python imports, at the first message."""


class Graph:
    """The node `actor` in front of whatever serves on `endpoint`, and one that asks it."""

    def __init__(self, node: Node, endpoint: str) -> None:
        self.node, self.endpoint = node, endpoint

    def ask(self, service: str, kind: Any = Trigger, **fields: Any) -> Any:
        client = self.node.create_client(kind, f"/actor/{service}")
        try:
            assert client.wait_for_service(ANSWER_S)
            return client.call(kind.Request(**fields), timeout_sec=ANSWER_S)
        finally:
            self.node.destroy_client(client)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    folder = tmp_path_factory.mktemp("services")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment(folder).items():
            patched.setenv(name, value)
        with ros_node("actor") as node:
            services = OperatorServices(node, f"ipc://{folder}/actor")
            asking = Node("asking")
            executor = SingleThreadedExecutor()
            for each in (node, asking):
                executor.add_node(each)
            spinning = threading.Thread(target=executor.spin)
            spinning.start()
            try:
                yield Graph(asking, f"ipc://{folder}/actor")
            finally:
                services.close()
                executor.shutdown()
                spinning.join()
                asking.destroy_node()


@pytest.fixture
def cell(graph: Graph) -> Iterator[Cell]:
    """A robot's cell whose session answers as an actor's does; its first episode has not begun."""
    cell = Cell(planned=5)

    def snapshot(lists: str | None) -> dict[str, Any]:
        return {"safety": for_page(cell.guard.safety)}

    def command(name: str, args: Any, author: str) -> dict[str, Any]:
        return cell.session.command(name, args, author, cell.clock.now_ns())

    with Served(graph.endpoint, session_handlers(snapshot, command)):
        yield cell


def own_services() -> Any:
    return pytest.importorskip("robot_rl_msgs.srv", reason="robot_rl_msgs is not built: make msgs")


def run_episode(cell: Cell) -> None:
    """The present episode, from its beginning to the question how it went."""
    assert cell.session.begin_episode()
    cell.book.close_episode(cell.session.episode)
    cell.session.end_episode("timeout", "its time was over")
    cell.session.close_episode(True)
    cell.session.homed()


def test_a_session_is_led_by_triggers_and_each_refusal_says_why_and_what_is_legal(graph: Graph, cell: Cell) -> None:
    assert graph.ask("arm").message == "PAUSED"
    refused = graph.ask("arm")
    assert not refused.success
    assert refused.message.startswith("arm is not legal in PAUSED: armed already; legal now: run")
    assert graph.ask("run").success
    assert graph.ask("pause").message == "PAUSED"
    assert "no reset is awaited" in graph.ask("reset_done").message
    assert {(kind, author) for kind, author, _ in cell.book.audit} == {
        (f"command.{name}", "ros") for name in ("arm", "run", "pause")
    }  # as the page's own commands are, what was refused is not


def test_clear_is_of_the_one_cause_that_is_latched(graph: Graph, cell: Cell) -> None:
    assert "clear is not legal in DISARMED: nothing is latched" in graph.ask("clear").message
    cell.session.observe(cell.guard.stop("ana", "a hand in the way"))
    assert graph.ask("clear").message == "PAUSED"
    assert not cell.guard.safety.causes


def test_two_causes_are_not_cleared_at_once_but_named(graph: Graph, cell: Cell) -> None:
    cell.robot.fault = OSError("a cable")
    with pytest.raises(RobotFault):
        cell.guard.observe()
    cell.session.observe(cell.guard.stop("ana", "a hand in the way"))
    refused = graph.ask("clear")
    assert not refused.success
    for cause in cell.guard.safety.causes:
        assert f"{cause.id} ({cause.kind}: {cause.detail})" in refused.message
    assert len(cell.guard.safety.causes) == 2


def test_a_label_counts_once_and_is_corrected_by_who_names_the_revision(graph: Graph, cell: Cell) -> None:
    label = own_services().Label
    graph.ask("arm"), graph.ask("run")
    early = graph.ask("label", label, event_id="a", episode=1, value="success")
    assert not early.success
    assert "no label is awaited" in early.message
    run_episode(cell)
    for _ in range(2):  # a caller that has not heard the answer asks again
        given = graph.ask("label", label, event_id="b", episode=1, value="success", author="ana")
        assert (given.success, given.stored, given.revision) == (True, True, 1), given.message
    other = graph.ask("label", label, event_id="b", episode=1, value="failure")
    assert not other.success
    assert "expected_revision" in graph.ask("label", label, event_id="c", episode=1, value="failure").message
    assert not graph.ask("label", label, event_id="c", episode=1, value="failure", expected_revision=7).success
    assert graph.ask("label", label, event_id="c", episode=1, value="failure", expected_revision=1).revision == 2
    assert "did you mean 'failure'" in graph.ask("label", label, event_id="d", episode=1, value="failur").message
    assert [row.label for row in cell.book.episodes()] == [LabelValue.FAILURE]
    assert graph.ask("reset_done").success
    cell.session.begin_episode()
    pressed = graph.ask("label", label, event_id="e", episode=2, value="success")  # seen while it ran: that ends it
    assert (pressed.success, pressed.stored, cell.session.in_episode) == (True, False, False)


def test_a_command_with_arguments_is_one_of_the_page_s_and_says_the_state_it_led_to(graph: Graph, cell: Cell) -> None:
    command = own_services().Command
    assert graph.ask("command", command, name="arm").state == "PAUSED"
    assert graph.ask("command", command, name="run").state == "RUNNING"
    run_episode(cell)
    graph.ask("label", own_services().Label, event_id="a", episode=1, value="success")
    assert graph.ask("command", command, name="undo", episode=1).success
    assert [row.label for row in cell.book.episodes()] == [LabelValue.DISCARD]
    assert "episode 9 has no label" in graph.ask("command", command, name="undo", episode=9).message
    assert "did you mean 'pause'" in graph.ask("command", command, name="pausee").message
    stop = graph.ask("command", command, name="stop")
    assert (stop.success, stop.message) == (False, "command 'stop': it is the service robot/stop")
    cell.session.observe(cell.guard.stop("ana", "a hand in the way"))
    assert not graph.ask("command", command, name="clear", cause_id="another one").success
    assert graph.ask("command", command, name="clear", cause_id=cell.guard.safety.causes[0].id).state == "PAUSED"


def test_without_an_actor_that_answers_the_caller_is_told_so(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot_rl_ros.operator_services.ANSWER_S", 0.2)
    answer = graph.ask("arm")
    assert not answer.success
    assert "whether it was done, the state says" in answer.message


def test_where_the_messages_are_not_built_the_triggers_are_there_all_the_same(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("robot_rl_msgs", "robot_rl_msgs.msg", "robot_rl_msgs.srv"):
        monkeypatch.setitem(sys.modules, name, None)
    bare = Node("bare")
    services = OperatorServices(bare, f"ipc://{tmp_path}/nobody")
    try:
        own = {service.srv_name for service in bare.services if service.srv_type is Trigger}
        named = {service.srv_name.rpartition("/")[2] for service in bare.services}
        assert {name.rpartition("/")[2] for name in own} == set(TRIGGERS)
        assert not named & {"label", "command"}
    finally:
        services.close()
        bare.destroy_node()
