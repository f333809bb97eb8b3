"""Differential inverse kinematics of the arm: a TCP pose to joint positions, by `mink`."""

from __future__ import annotations

import mink
import mujoco
import numpy as np

from robot_rl.types import Array
from sim_twin.scene import READY

ITERATIONS = 2
"""Per control step; targets move by millimetres, so that each start is near its solution."""
DAMPING = 1e-4


class CartesianArm:
    """Keeps a joint configuration whose TCP follows position targets at a fixed orientation.

    It works on the model alone: contact forces and tracking errors do not enter, as in a robot whose controller is
    given joint positions.
    """

    def __init__(self, model: mujoco.MjModel, rotation: Array) -> None:
        """`rotation` [3, 3] of the TCP in the base frame."""
        self._configuration = mink.Configuration(model)
        self._rotation = mink.SO3.from_matrix(rotation)
        self._tcp = mink.FrameTask("tcp", "site", position_cost=1.0, orientation_cost=0.5)
        self._posture = mink.PostureTask(model, cost=2e-3)
        self._limits = [mink.ConfigurationLimit(model)]
        self._arm = np.array([model.joint(f"fr3_joint{i}").qposadr[0] for i in range(1, 8)])

    def reset(self, position: Array) -> Array:
        """Solve from the ready posture for `position` [3] m; returns joints [7] rad."""
        q = np.zeros(self._configuration.model.nq)
        q[:] = self._configuration.model.qpos0
        q[self._arm] = READY
        self._configuration.update(q)
        self._posture.set_target(q)
        for _ in range(60):
            joints = self.track(position)
        return joints

    def track(self, position: Array) -> Array:
        """Move towards `position` [3] m; returns joints [7] rad."""
        self._tcp.set_target(mink.SE3.from_rotation_and_translation(self._rotation, position))
        for _ in range(ITERATIONS):
            velocity = mink.solve_ik(
                self._configuration, [self._tcp, self._posture], 1.0, "daqp", damping=DAMPING, limits=self._limits
            )
            self._configuration.integrate_inplace(velocity, 1.0)
        joints: Array = self._configuration.q[self._arm].copy()
        return joints
