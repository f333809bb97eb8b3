"""Differential inverse kinematics: where the joints lead, by MuJoCo's own forward kinematics."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from robot_rl.types import Array
from sim_twin.kinematics import CartesianArm
from sim_twin.lid_opening import FACING_X, LidOpeningTwin
from sim_twin.scene import ARM_JOINTS


def tcp(model: mujoco.MjModel, joints: Array) -> tuple[Array, Array]:
    """(position [3] m, rotation [3, 3]) of the TCP at `joints` [7]."""
    data = mujoco.MjData(model)
    for name, angle in zip(ARM_JOINTS, joints, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = angle
    mujoco.mj_kinematics(model, data)
    return data.site("tcp").xpos.copy(), data.site("tcp").xmat.reshape(3, 3).copy()


@pytest.mark.parametrize(
    "position", [(0.42, 0.0, 0.47), (0.60, 0.2, 0.40), (0.65, -0.2, 0.40), (0.55, 0.0, 0.60), (0.70, 0.1, 0.36)]
)
def test_the_tcp_is_where_it_should_be_and_the_hand_faces_forward(
    twin: LidOpeningTwin, position: tuple[float, float, float]
) -> None:
    reached, rotation = tcp(twin.model, CartesianArm(twin.model, FACING_X).reset(np.array(position)))
    assert np.allclose(reached, position, atol=1e-3)
    assert np.allclose(rotation, FACING_X, atol=0.01)


def test_it_follows_a_moving_target(twin: LidOpeningTwin) -> None:
    arm, goal = CartesianArm(twin.model, FACING_X), np.array([0.45, 0.0, 0.47])
    before = arm.reset(goal)
    for _ in range(15):
        goal = goal + np.array([0.010, 0.005, -0.004])
        joints = arm.track(goal)
        assert np.abs(joints - before).max() < 0.15, "one control step is a small motion"
        before = joints
        assert np.allclose(tcp(twin.model, joints)[0], goal, atol=2e-3)


def test_a_target_out_of_reach_stays_within_the_joint_limits(twin: LidOpeningTwin) -> None:
    arm = CartesianArm(twin.model, FACING_X)
    arm.reset(np.array([0.45, 0.0, 0.47]))
    limits = np.array([twin.model.joint(name).range for name in ARM_JOINTS])
    for _ in range(60):
        joints = arm.track(np.array([2.0, 0.5, 0.5]))
    assert np.isfinite(joints).all()
    assert (limits[:, 0] - 1e-3 <= joints).all()
    assert (joints <= limits[:, 1] + 1e-3).all()


def test_a_reset_forgets_the_way_it_came(twin: LidOpeningTwin) -> None:
    arm, home = CartesianArm(twin.model, FACING_X), np.array([0.42, 0.0, 0.47])
    first = arm.reset(home)
    arm.track(np.array([0.6, 0.3, 0.6]))
    assert np.array_equal(arm.reset(home), first)
