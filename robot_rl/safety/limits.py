"""What the robot may do in one control step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.types import ActionSpace, Array

if TYPE_CHECKING:
    from robot_rl.config import LimitsConfig


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Limits of an `ee_delta` action (dx, dy, dz in m per control step, gripper width in m); base frame.

    Raises `ConfigError` for limits that allow nothing or are not finite.
    """

    workspace_low: Array
    """[3] m."""
    workspace_high: Array
    """[3] m."""
    step_m: float
    """Longest displacement of one control step."""
    seam_m: float
    """Largest change of displacement from one control step to the next."""
    tolerance: float
    """Steps and seams up to this factor beyond their limit are clipped, above it rejected."""
    gripper_low: float
    """m."""
    gripper_high: float
    """m."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.workspace_low).all() and np.isfinite(self.workspace_high).all()):
            raise ConfigError(f"workspace: expected finite corners, got {self.workspace_low}, {self.workspace_high}")
        if not np.all(self.workspace_low < self.workspace_high):
            raise ConfigError(f"workspace: expected low < high, got {self.workspace_low} and {self.workspace_high}")
        if not self.gripper_low < self.gripper_high:
            raise ConfigError(f"gripper: expected low < high, got {self.gripper_low} m and {self.gripper_high} m")
        if not (0 < self.step_m < np.inf and 0 < self.seam_m < np.inf and 1 <= self.tolerance < np.inf):
            raise ConfigError(
                "expected finite step_m > 0, seam_m > 0 and tolerance >= 1, "
                f"got {self.step_m}, {self.seam_m} and {self.tolerance}"
            )

    @classmethod
    def of(cls, config: LimitsConfig, space: ActionSpace) -> Limits:
        """The task's limits for a robot's action space; the gripper's range is what both allow.

        Raises `SpecMismatch` if the space is not `ee_delta` with a gripper, `ConfigError` if nothing is allowed.
        """
        if space.kind != "ee_delta" or space.size != 4:
            raise SpecMismatch(f"the filter knows 'ee_delta' of size 4, the robot has {space.kind!r} of {space.size}")
        return cls(
            workspace_low=np.array(config.workspace_low, dtype=np.float64),
            workspace_high=np.array(config.workspace_high, dtype=np.float64),
            step_m=config.step_m,
            seam_m=config.seam_m,
            tolerance=config.tolerance,
            gripper_low=max(config.gripper_low, space.low[3]),
            gripper_high=min(config.gripper_high, space.high[3]),
        )
