"""A point that goes where it is told: a test double of a robot, for tests of what talks to robots and nothing else.

It has no mass, no joints that matter and no contact. It takes `ee_delta` actions, keeps what it was sent, and moves its
clock forward by one control period at each call.
"""

from __future__ import annotations

import numpy as np

from robot_rl.clock import SECOND, Clock, SteppedClock
from robot_rl.types import ActionSpace, Array, Observation, RobotSpec

SPEC = RobotSpec(
    name="point",
    action_space=ActionSpace(
        kind="ee_delta",
        names=("dx", "dy", "dz", "gripper"),
        units=("m", "m", "m", "m"),
        low=(-0.012, -0.012, -0.012, 0.0),
        high=(0.012, 0.012, 0.012, 0.08),
    ),
    control_hz=20.0,
    joints=0,
)


class PointRobot:
    """A `Robot`; `fault` is what its next calls raise, until it is set back to None."""

    def __init__(self, clock: Clock | None = None, xyz: tuple[float, float, float] = (0.5, 0.0, 0.3)) -> None:
        self.clock = clock or SteppedClock()
        self.xyz: Array = np.array(xyz)
        self.gripper_width = 0.04
        self.applied: list[Array] = []
        self.held = 0
        self.fault: Exception | None = None
        self.closed = False
        self._stamp_ns = self.clock.now_ns()
        self._seq = 0

    @property
    def spec(self) -> RobotSpec:
        return SPEC

    def observe(self) -> Observation:
        self._fail()
        return Observation(
            seq=self._seq,
            stamps_ns={"robot": self._stamp_ns},
            q=np.zeros(0),
            dq=np.zeros(0),
            tcp_pose=np.array([*self.xyz, 0.0, 0.0, 0.0, 1.0]),
            gripper_width=self.gripper_width,
            wrench=np.zeros(6),
        )

    def apply(self, target: Array) -> None:
        self._fail()
        self.applied.append(target)
        self.xyz = self.xyz + target[:3]
        self.gripper_width = float(target[3])
        self._period()

    def hold(self) -> None:
        self._fail()
        self.held += 1
        self._period()

    def close(self) -> None:
        self.closed = True

    def _period(self) -> None:
        self.clock.sleep_until(self.clock.now_ns() + round(SECOND / SPEC.control_hz))
        self._stamp_ns = self.clock.now_ns()
        self._seq += 1

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault
