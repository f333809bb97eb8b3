"""What every robot must do (`robot_rl.protocols.Robot`), real or twin; inherit and give the fixture.

The robot stands still in free space, where it can rise by some centimetres, and its gripper is empty. On hardware these
tests move it.
"""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.clock import SECOND, Clock, RealClock
from robot_rl.protocols import Robot
from robot_rl.types import Array, Observation


class RobotConformance:
    """Shapes, time, and that displacements add up; the tolerances are the subclass's to tighten."""

    still_m = 0.002
    """How far a holding robot may drift in `settle` control periods."""
    tracking_m = 0.003
    """How exactly a robot is, once settled, where the sum of its displacements says."""
    gripper_m = 0.005
    """How exactly an empty gripper opens, once settled."""
    period_slack = 0.5
    """Part of a control period by which one may be longer or shorter."""
    settle = 20
    """Control periods after which a motion has come to rest."""

    @pytest.fixture
    def robot(self) -> Robot:
        """The robot under test, ready to move."""
        raise NotImplementedError("a conformance suite needs a `robot` fixture")

    @pytest.fixture
    def clock(self, robot: Robot) -> Clock:
        """The clock that the robot stamps with."""
        return RealClock()

    def rest(self, robot: Robot) -> Observation:
        """Hold until everything has come to rest."""
        for _ in range(self.settle):
            robot.hold()
        return robot.observe()

    def action(self, robot: Robot, xyz: tuple[float, float, float], width: float | None = None) -> Array:
        """[A] a displacement in m, the gripper as it is or at `width` m."""
        return np.array([*xyz, robot.observe().gripper_width if width is None else width])

    def test_has_the_calls_of_the_protocol(self, robot: Robot) -> None:
        assert isinstance(robot, Robot)

    def test_the_spec_describes_its_actions(self, robot: Robot) -> None:
        space = robot.spec.action_space
        assert space.kind == "ee_delta"
        assert space.size == len(space.units) == len(space.low) == len(space.high) == 4
        assert all(low < high for low, high in zip(space.low, space.high, strict=True))
        assert robot.spec.control_hz > 0
        assert robot.spec.name

    def test_an_observation_has_the_shapes_it_should(self, robot: Robot) -> None:
        seen = robot.observe()
        assert seen.q.shape == seen.dq.shape == (robot.spec.joints,)
        assert seen.tcp_pose.shape == (7,)
        assert seen.wrench.shape == (6,)
        for numbers in (seen.q, seen.dq, seen.tcp_pose, seen.wrench, *seen.extra.values()):
            assert np.isfinite(numbers).all()
        assert np.linalg.norm(seen.tcp_pose[3:]) == pytest.approx(1.0, abs=1e-3)
        assert robot.spec.action_space.low[3] - self.gripper_m <= seen.gripper_width
        assert seen.gripper_width <= robot.spec.action_space.high[3] + self.gripper_m

    def test_proprioception_is_stamped_with_the_clock(self, robot: Robot, clock: Clock) -> None:
        robot.hold()
        seen = robot.observe()
        assert isinstance(seen.stamps_ns["robot"], int)
        age_ns = clock.now_ns() - seen.stamps_ns["robot"]
        assert 0 <= age_ns <= 2 * SECOND / robot.spec.control_hz

    def test_looking_does_not_move_it(self, robot: Robot) -> None:
        first = self.rest(robot)
        for _ in range(self.settle):
            seen = robot.observe()
        np.testing.assert_allclose(seen.tcp_pose[:3], first.tcp_pose[:3], atol=self.still_m)

    def test_every_call_takes_one_control_period(self, robot: Robot) -> None:
        periods = 5
        for move in (robot.hold, lambda: robot.apply(self.action(robot, (0.0, 0.0, 0.0)))):
            move()
            before = robot.observe()
            for _ in range(periods):
                move()
            after = robot.observe()
            assert after.seq > before.seq
            took = (after.stamps_ns["robot"] - before.stamps_ns["robot"]) * robot.spec.control_hz / SECOND
            assert took == pytest.approx(periods, abs=periods * self.period_slack)

    def test_holding_keeps_the_pose(self, robot: Robot) -> None:
        before = self.rest(robot)
        after = self.rest(robot)
        np.testing.assert_allclose(after.tcp_pose[:3], before.tcp_pose[:3], atol=self.still_m)
        np.testing.assert_allclose(np.abs(after.tcp_pose[3:] @ before.tcp_pose[3:]), 1.0, atol=1e-3)

    def test_displacements_add_up(self, robot: Robot) -> None:
        before = self.rest(robot)
        steps = [(0.0, 0.0, 0.004)] * 5 + [(0.003, 0.0, 0.0)] * 5 + [(0.0, -0.003, 0.0)] * 5
        for step in steps:
            robot.apply(self.action(robot, step, before.gripper_width))
        for _ in range(self.settle):
            robot.apply(self.action(robot, (0.0, 0.0, 0.0), before.gripper_width))
        moved = robot.observe().tcp_pose[:3] - before.tcp_pose[:3]
        np.testing.assert_allclose(moved, np.sum(steps, axis=0), atol=self.tracking_m)

    def test_holding_in_mid_motion_comes_to_rest(self, robot: Robot) -> None:
        self.rest(robot)
        for _ in range(5):
            robot.apply(self.action(robot, (0.0, 0.0, 0.006)))
        stopped = self.rest(robot)
        later = self.rest(robot)
        np.testing.assert_allclose(later.tcp_pose[:3], stopped.tcp_pose[:3], atol=self.still_m)

    def test_the_gripper_goes_to_its_width(self, robot: Robot) -> None:
        low, high = robot.spec.action_space.low[3], robot.spec.action_space.high[3]
        for share in (0.75, 0.25):
            width = low + share * (high - low)
            for _ in range(2 * self.settle):
                robot.apply(self.action(robot, (0.0, 0.0, 0.0), width))
            assert robot.observe().gripper_width == pytest.approx(width, abs=self.gripper_m)

    def test_an_observation_stays_as_it_was_handed_out(self, robot: Robot) -> None:
        seen = robot.observe()
        kept = [seen.q.copy(), seen.dq.copy(), seen.tcp_pose.copy(), seen.wrench.copy()]
        for _ in range(5):
            robot.apply(self.action(robot, (0.0, 0.0, 0.004)))
        for now, then in zip((seen.q, seen.dq, seen.tcp_pose, seen.wrench), kept, strict=True):
            np.testing.assert_array_equal(now, then)
