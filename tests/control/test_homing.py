from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from robot_rl.control.homing import BACK_M, HOME_M, retreat
from robot_rl.control.progress import State
from robot_rl.errors import RobotFault
from robot_rl.types import Array
from tests.control.cell import HOME, LIMITS, Cell

START = np.array([0.62, 0.15, 0.15])


@pytest.fixture
def cell() -> Cell:
    """The arm at work; its episode has just ended."""
    cell = Cell()
    cell.start_episode()
    cell.session.end_episode("timeout", "")
    cell.robot.xyz = START.copy()
    return cell


def path(cell: Cell) -> Array:
    xyz: Array = START + np.cumsum([row[:3] for row in cell.robot.applied], axis=0)
    return xyz


def test_goes_back_then_up_then_home(cell: Cell) -> None:
    assert retreat(cell.motion, np.array(HOME))
    xyz = path(cell)
    assert np.linalg.norm(cell.robot.xyz - HOME) <= HOME_M
    back = int(np.argmax(xyz[:, 0] < START[0] - 0.6 * BACK_M))
    np.testing.assert_allclose(xyz[:back, 1:], [START[1:]] * back, atol=1e-9)
    up = int(np.argmax(xyz[:, 2] > HOME[2] - 0.03))
    np.testing.assert_allclose(xyz[:up, 1], START[1], atol=1e-9)
    assert np.all(np.linalg.norm(np.diff(xyz, axis=0), axis=1) <= 0.0121)
    assert {row[3] for row in cell.robot.applied} == {cell.robot.gripper_width}


def test_every_command_is_within_limits_unclipped(cell: Cell) -> None:
    retreat(cell.motion, np.array(HOME))
    assert {verdict.value for verdict in cell.motion.totals} == {"pass"}
    assert len(cell.robot.applied) < 90


@pytest.mark.parametrize("late", [1, 2, 3])
def test_a_robot_that_follows_late_settles_too(cell: Cell, late: int, monkeypatch: pytest.MonkeyPatch) -> None:
    queue: deque[Array] = deque([np.zeros(3)] * late)
    apply = cell.robot.apply

    def delayed(target: Array) -> None:
        queue.append(target[:3])
        apply(np.array([*queue.popleft(), target[3]]))

    monkeypatch.setattr(cell.robot, "apply", delayed)
    assert retreat(cell.motion, np.array(HOME))
    assert np.linalg.norm(cell.robot.xyz + sum(queue) - HOME) < 4 * HOME_M


def test_an_arm_that_is_caught_gives_up_with_a_fault(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = cell.robot.apply
    monkeypatch.setattr(cell.robot, "apply", lambda target: apply(np.array([0, 0, 0, target[3]])))
    with pytest.raises(RobotFault, match=r"within 0\.003 m of home"):
        retreat(cell.motion, np.array(HOME))
    assert len(cell.robot.applied) < 400


@pytest.mark.parametrize("cleared", [False, True], ids=["latched", "cleared at once"])
def test_a_stop_on_the_way_ends_it(cell: Cell, cleared: bool) -> None:
    def stop() -> None:
        cell.guard.stop("ana", "test")
        if cleared:
            cell.guard.clear(cell.causes()[0], "ana")
            cell.session.observe(cell.guard.safety)
            cell.press("run")

    cell.at[5] = stop
    assert not retreat(cell.motion, np.array(HOME))
    assert len(cell.robot.applied) == 5
    cell.session.observe(cell.guard.safety)
    assert cell.session.state is (State.HOMING if cleared else State.STOPPED)


def test_a_pause_on_the_way_holds(cell: Cell) -> None:
    cell.at[5] = lambda: cell.press("pause")
    cell.at[9] = lambda: cell.press("run")
    assert retreat(cell.motion, np.array(HOME))
    assert cell.robot.held == 4


def test_from_outside_the_workspace_it_comes_back(cell: Cell) -> None:
    cell.robot.xyz = LIMITS.workspace_high + 0.02
    assert retreat(cell.motion, np.array(HOME))
