from __future__ import annotations

import pytest

from robot_rl.clock import Clock, SteppedClock
from robot_rl.testing.point_robot import PointRobot
from robot_rl.testing.robot import RobotConformance
from robot_rl.types import Array


class TestPointRobot(RobotConformance):
    @pytest.fixture
    def robot(self) -> PointRobot:
        return PointRobot(SteppedClock())

    @pytest.fixture
    def clock(self, robot: PointRobot) -> Clock:
        return robot.clock


class Drifting(PointRobot):
    """Falls while it should hold."""

    def hold(self) -> None:
        super().hold()
        self.xyz = self.xyz - [0.0, 0.0, 0.001]


class Weak(PointRobot):
    """Goes nine tenths of the way."""

    def apply(self, target: Array) -> None:
        super().apply(target * [0.9, 0.9, 0.9, 1.0])


class Hasty(PointRobot):
    """Takes no time to act."""

    def _period(self) -> None:
        self._seq += 1


def test_the_suite_notices_a_drifting_robot() -> None:
    with pytest.raises(AssertionError):
        RobotConformance().test_holding_keeps_the_pose(Drifting())


def test_the_suite_notices_displacements_that_do_not_add_up() -> None:
    robot = Weak()
    suite = RobotConformance()
    suite.tracking_m = 0.001
    with pytest.raises(AssertionError):
        suite.test_displacements_add_up(robot)


def test_the_suite_notices_a_robot_without_a_period() -> None:
    with pytest.raises(AssertionError):
        RobotConformance().test_every_call_takes_one_control_period(Hasty())
