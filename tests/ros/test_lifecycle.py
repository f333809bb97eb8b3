"""Managed nodes, on real rclpy: what `ros2 lifecycle` asks of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_rl.types import SafetyLevel
from tests.control.cell import Cell
from tests.ros.graph import environment

pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot_rl_ros.lifecycle import ManagedNode, keep_still
from robot_rl_ros.node import ros_node

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
ANSWER_S = 20.0


class Manager:
    """A managed node, and one in the graph that manages it."""

    def __init__(self, managed: ManagedNode, node: Node) -> None:
        self.managed = managed
        self._change = node.create_client(ChangeState, "/robot/change_state")
        self._ask = node.create_client(GetState, "/robot/get_state")
        for client in (self._change, self._ask):
            assert client.wait_for_service(ANSWER_S)

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self._change.call(request, timeout_sec=ANSWER_S).success)

    def state(self) -> str:
        return str(self._ask.call(GetState.Request(), timeout_sec=ANSWER_S).current_state.label)


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[str]) -> Iterator[Manager]:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)

    def kind(name: str, namespace: str) -> ManagedNode:
        return ManagedNode(name, namespace=namespace, end=lambda: ended.append("ended"))

    with ros_node("robot", kind=kind) as managed:
        assert isinstance(managed, ManagedNode)
        managed.begin()
        asking, executor = Node("asking"), SingleThreadedExecutor()
        for node in (managed, asking):
            executor.add_node(node)
        spinning = threading.Thread(target=executor.spin)
        spinning.start()
        try:
            yield Manager(managed, asking)
        finally:
            executor.shutdown()
            spinning.join()
            asking.destroy_node()


def test_a_managed_node_begins_active_rests_when_told_and_ends_when_told(manager: Manager, ended: list[str]) -> None:
    assert manager.state() == "active"
    assert manager.managed.active.is_set()
    assert manager.change(Transition.TRANSITION_DEACTIVATE)
    assert manager.state() == "inactive"
    assert not manager.managed.active.is_set()
    assert not manager.change(Transition.TRANSITION_CLEANUP)
    assert manager.state() == "inactive"
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    assert manager.managed.active.is_set()
    assert not ended
    assert manager.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert (manager.state(), ended) == ("finalized", ["ended"])
    assert not manager.managed.active.is_set()


def test_a_robot_whose_node_is_not_active_is_stopped_and_cannot_be_cleared_before_it_is() -> None:
    cell = Cell()
    keep_still(cell.guard, True)
    assert cell.guard.safety.level < SafetyLevel.STOP
    epoch = cell.guard.safety.epoch
    for _ in range(2):
        keep_still(cell.guard, False)
        (cause,) = (cause for cause in cell.guard.safety.causes if cause.level is SafetyLevel.STOP)
        assert "not active" in cause.detail
        cell.guard.clear(cause.id, "ana")
    assert cell.guard.safety.epoch > epoch + 1
    keep_still(cell.guard, True)
    assert cell.guard.safety.level < SafetyLevel.STOP
