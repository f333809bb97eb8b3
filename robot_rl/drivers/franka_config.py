"""Settings of a Franka arm with its hand; `hw_configs/franka.yaml` is a file of them, with words on each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from robot_rl.config import Section, explain
from robot_rl.errors import ConfigError
from robot_rl.yaml_files import read_mapping

Joints = tuple[float, float, float, float, float, float, float]
Threshold = Annotated[float, Field(gt=0)]
TURNS = ((-3.1, 3.1), (-1.9, 1.9), (-3.1, 3.1), (-3.1, 0.0), (-3.1, 3.1), (-0.1, 4.7), (-3.1, 3.1))
"""rad: so wide that neither a Franka Emika Robot nor a Research 3 turns further; each one's own limits are narrower."""


class CollisionConfig(Section):
    """What the robot takes for a contact (it says so) and for a collision (it stops by reflex)."""

    contact_torque: Threshold = 20.0
    """Nm, every joint."""
    collision_torque: Threshold = 40.0
    """Nm, every joint."""
    contact_force: Threshold = 20.0
    """N and Nm, every direction at the hand."""
    collision_force: Threshold = 40.0
    """N and Nm, every direction at the hand."""

    @model_validator(mode="after")
    def _touches_before_it_collides(self) -> CollisionConfig:
        for of in ("torque", "force"):
            contact, collision = getattr(self, f"contact_{of}"), getattr(self, f"collision_{of}")
            if contact > collision:
                unsaid = "" if f"contact_{of}" in self.model_fields_set else ", its default: give it too"
                raise ValueError(
                    f"contact_{of}: expected at most collision_{of}, {collision:g}, got {contact:g}{unsaid}. The robot "
                    "would have stopped before it says that it touches something"
                )
        return self


class ImpedanceConfig(Section):
    """How stiffly the hand follows its target."""

    translation: float = Field(default=3000.0, gt=0, le=3000)
    """N/m."""
    rotation: float = Field(default=100.0, gt=0, le=300)
    """Nm/rad."""
    damping: float = Field(default=2.5, ge=1, le=4)
    """In units of 2 sqrt(stiffness), which is critical for a hand of 1 kg; the arm weighs some 5 kg at the hand."""
    feedforward: float = Field(default=0.85, ge=0, le=1)
    """Share of the target's speed that the damping does not brake: 1 takes most of the lag away."""
    posture: float = Field(default=10.0, ge=0, le=50)
    """Nm/rad, of the joints towards `home`, as far as that does not move the hand."""


class GripperConfig(Section):
    """The Franka hand."""

    speed: float = Field(default=0.1, gt=0, le=0.1)
    """m/s."""
    force: float = Field(default=30.0, gt=0, le=70)
    """N, with which it closes on something."""
    max_width: float = Field(default=0.08, gt=0, le=0.1)
    """m."""
    resolution: float = Field(default=0.002, gt=0)
    """m: it is sent a new width when that differs by more; the hand takes one motion at a time."""


class FrankaConfig(Section):
    """One arm; SI units, robot base frame, quaternions xyzw."""

    address: str = Field(min_length=1)
    """IP address or name of the control unit (FCI)."""
    realtime_config: Literal["enforce", "ignore"] = "enforce"
    """enforce: no connection without a real-time kernel; ignore: for a simulated robot."""
    control_hz: float = Field(default=20.0, gt=0, le=100)
    """How often a target comes."""
    step_m: float = Field(default=0.012, gt=0, le=0.1)
    """m: longest displacement along an axis in one control step, as the policy's actions have it."""
    lead_m: float = Field(default=0.03, gt=0, le=0.1)
    """m: the target never runs further ahead of the measured hand, along an axis: bounds the force on an obstacle."""
    interpolation: int = Field(default=5, ge=1, le=50)
    """Targets sent per control step, on the straight line to its goal."""
    orientation: tuple[float, float, float, float] = (0.70710678, 0.0, 0.70710678, 0.0)
    """Of the hand, kept throughout. The default looks along +x, the fingers opening along y."""
    orientation_tolerance: float = Field(default=0.15, gt=0, le=0.5)
    """rad: a hand that is turned further away is not moved; bring it to `home` first."""
    home: Joints = (0.0, -0.35, 0.0, -2.35, 0.0, 3.55, 0.7854)
    """rad: the posture that the arm stays near."""
    impedance: ImpedanceConfig = ImpedanceConfig()
    collision: CollisionConfig = CollisionConfig()
    gripper: GripperConfig = GripperConfig()

    @field_validator("home")
    @classmethod
    def _can_be_reached(cls, home: Joints) -> Joints:
        for number, (angle, (low, high)) in enumerate(zip(home, TURNS, strict=True), start=1):
            if not low <= angle <= high:
                raise ValueError(f"joint {number}: expected {low:g} to {high:g} rad, got {angle:g}; degrees?")
        return home

    @field_validator("orientation")
    @classmethod
    def _is_a_rotation(cls, xyzw: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        length = float(np.linalg.norm(xyzw))
        if abs(length - 1.0) > 1e-3:
            raise ValueError(f"expected a unit quaternion xyzw, got one of length {length:.4f}")
        return xyzw


def load_franka(path: Path) -> FrankaConfig:
    """Read a file of settings. Raises `ConfigError` that names the place and the nearest key."""
    try:
        return FrankaConfig.model_validate(read_mapping(path))
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(explain(FrankaConfig, error))) from error
