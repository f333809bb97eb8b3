from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_rl.config import LimitsConfig
from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.safety.limits import Limits
from robot_rl.testing.point_robot import SPEC

SPACE = SPEC.action_space
CONFIG = LimitsConfig(
    workspace_low=(0.3, -0.3, 0.02), workspace_high=(0.7, 0.3, 0.5), step_m=0.012, seam_m=0.01, tolerance=1.5
)


def test_limits_are_the_tasks() -> None:
    limits = Limits.of(CONFIG, SPACE)
    np.testing.assert_array_equal(limits.workspace_low, [0.3, -0.3, 0.02])
    np.testing.assert_array_equal(limits.workspace_high, [0.7, 0.3, 0.5])
    assert (limits.step_m, limits.seam_m, limits.tolerance) == (0.012, 0.01, 1.5)


@pytest.mark.parametrize(
    ("task", "robot", "both"),
    [((0.0, 0.08), (0.01, 0.07), (0.01, 0.07)), ((0.02, 0.05), (0.0, 0.08), (0.02, 0.05))],
)
def test_the_gripper_range_is_what_task_and_robot_allow(
    task: tuple[float, float], robot: tuple[float, float], both: tuple[float, float]
) -> None:
    config = CONFIG.model_copy(update={"gripper_low": task[0], "gripper_high": task[1]})
    space = replace(SPACE, low=(*SPACE.low[:3], robot[0]), high=(*SPACE.high[:3], robot[1]))
    limits = Limits.of(config, space)
    assert (limits.gripper_low, limits.gripper_high) == both


@pytest.mark.parametrize(
    "space", [replace(SPACE, kind="joint_velocity"), replace(SPACE, names=("dx", "dy", "dz"))], ids=["kind", "size"]
)
def test_another_action_space_is_refused(space: Any) -> None:
    with pytest.raises(SpecMismatch, match="ee_delta"):
        Limits.of(CONFIG, space)


@pytest.mark.parametrize(
    "update",
    [
        {"workspace_low": (0.3, 0.3, 0.02)},
        {"workspace_low": (0.8, -0.3, 0.02)},
        {"workspace_low": (float("nan"), -0.3, 0.02)},
        {"workspace_high": (0.7, 0.3, float("inf"))},
        {"gripper_low": 0.08},
        {"gripper_high": float("nan")},
        {"step_m": float("inf")},
        {"step_m": 0.0},
        {"seam_m": float("nan")},
        {"seam_m": 0.0},
        {"tolerance": float("inf")},
        {"tolerance": 0.99},
    ],
    ids=str,
)
def test_limits_that_allow_nothing_or_anything_are_refused(update: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Limits.of(CONFIG.model_copy(update=update), SPACE)
