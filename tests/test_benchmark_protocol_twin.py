"""The benchmark of the two twins: that it finds a delay that was put in, and what it notes of a motion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.protocol_twin import Motion, Traced, follows
from robot_rl.clock import SteppedClock
from robot_rl.testing.point_robot import PointRobot


def curve(times_s: np.ndarray) -> np.ndarray:
    """[n, 3] m of a hand that goes to and fro."""
    return np.stack([0.06 * np.sin(3 * times_s), 0.05 * np.cos(2 * times_s), 0.02 * times_s], axis=1)


@pytest.mark.parametrize("delay_s", [0.0, 0.035, 0.12])
def test_the_delay_of_a_path_that_follows_late_is_found(delay_s: float) -> None:
    times = np.arange(0.0, 6.0, 0.05)
    motion = Motion(list(times), list(curve(times)), list(curve(np.maximum(times - delay_s, 0.0))))
    found, error_m = follows([motion, Motion()])
    assert found == pytest.approx(delay_s, abs=0.006)
    assert error_m < 0.002


def test_what_is_told_and_what_is_seen_are_noted_period_by_period() -> None:
    robot: Any = PointRobot(SteppedClock())
    traced = Traced(robot)
    first = traced.observe().tcp_pose[:3]
    for _ in range(3):
        traced.apply(np.array([0.01, 0.0, 0.0, 0.04]))
        traced.observe()
        traced.observe()  # looked at twice, it counts once
    traced.hold()
    traced.observe()
    traced.apply(np.array([0.0, 0.01, 0.0, 0.04]))
    traced.observe()
    assert [len(motion.stamps_s) for motion in traced.motions] == [3, 1]
    np.testing.assert_allclose(traced.motions[0].commanded[-1] - first, [0.03, 0.0, 0.0])
    np.testing.assert_allclose(traced.motions[1].measured[-1] - first, [0.03, 0.01, 0.0])
    assert traced.spec == robot.spec
