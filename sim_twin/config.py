"""The `scene` section of a task file, checked: bodies, physics of two worlds, starts, perception, cameras, expert."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from robot_rl.config import Section, explain
from robot_rl.errors import ConfigError, nearest


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"expected [low, high], got {list(ends)}")
    return ends


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
Vec3 = tuple[float, float, float]


class BinConfig(Section):
    """The hinged-lid bin; metres and kilograms. Its origin is the middle of its base; the ears look towards -x."""

    depth: float
    """Along x."""
    width: float
    """Along y."""
    height: float
    """Of the body, without the lid."""
    wall: float
    lid_thickness: float
    ear_y: float
    """The two ears' middles lie at +- this."""
    ear_width: float
    ear_reach: float
    """How far the ears protrude from the body's front."""
    ear_drop: float
    """How far the ears' lower faces hang below the hinge: a push against an ear's front closes the lid."""
    slot: float
    """Between the ears' lower faces and the ledge's upper face."""
    ledge_reach: float
    """How far the ledge protrudes from the body's front."""
    ledge_height: float
    broken_ear: Literal["none", "left", "right"] = "none"
    """An ear that is drawn but has no contact: the lid cannot be opened by it. Left is +y."""

    @property
    def slot_height(self) -> float:
        """m: of the slot's middle above the bin's base; where a fingertip must go."""
        return self.height - self.ear_drop - self.slot / 2


class WorldConfig(Section):
    """Physics of one world: the twin's, or the perturbed copy that stands for the real robot."""

    timestep: float = Field(gt=0, le=0.002)
    """s."""
    lid_mass: float = Field(gt=0)
    """kg."""
    body_mass: float = Field(gt=0)
    """kg."""
    friction: float = Field(ge=0)
    """Sliding friction of bin, table and finger."""
    lid_damping: float = Field(ge=0)
    """Nm s/rad."""
    lid_friction: float = Field(ge=0)
    """Nm, dry friction of the hinge."""
    gain: float = Field(gt=0)
    """Factor on the joint position gains of the arm."""
    damping: float = Field(ge=0)
    """Factor on the joint velocity gains of the arm; with the model's own (1.0) it lags its targets by 0.1 s."""
    delay_steps: int = Field(ge=0)
    """Control steps between a command and its effect."""
    height_error: float
    """m: the TCP is this much lower than the robot's calibration says."""
    height_error_std: float = Field(ge=0)
    """m: normal spread of that error over episodes."""


class StartsConfig(Section):
    """Where the bin may stand: uniform over this box, base frame."""

    x: Range
    y: Range
    yaw: Range
    """rad."""


class PerceptionConfig(Section):
    """The twin's stand-in for object pose estimation: normal noise on every reading."""

    position_std: float = Field(ge=0)
    """m, x and y."""
    yaw_std: float = Field(ge=0)
    """rad."""


class SuccessConfig(Section):
    """Opened by contact alone; judged from the simulation's state."""

    lid_angle: float
    """rad: the lid is past this."""
    moved: float
    """m: and the bin stands within this of where it was put."""
    tilt: float
    """rad: and upright within this."""
    ajar: float
    """rad: a lid below this is closed."""
    overshoot: float
    """m: with the TCP this far behind the hinge and the lid closed, the hand missed: a person ends the episode."""


class CameraConfig(Section):
    """One camera; fixed in the world, or on the hand."""

    position: Vec3
    """m, in the base frame, or the hand's."""
    target: Vec3
    """The point it looks at, in the same frame."""
    fovy: float = Field(gt=0, lt=180)
    """deg, vertical."""
    width: int = Field(ge=16, le=4096)
    height: int = Field(ge=16, le=4096)
    mount: Literal["world", "hand"] = "world"
    jitter: float = 0.0
    """m: half-width of the uniform randomisation of its position, drawn once per scene."""


class ExpertConfig(Section):
    """The scripted expert's named imperfections."""

    height_bias: float
    """m."""
    height_std: float
    """m: per episode."""
    noise_std: float
    """m: per control step and axis."""
    left_share: float = Field(ge=0, le=1)
    """Share of demonstrations that use the left (+y) ear: mode imbalance."""
    ears: Literal["both", "left", "right"] = "both"
    gripper_width: float = Field(default=0.03, ge=0, le=0.08)
    """m: how far apart it holds the fingers; closed ones are 2 cm wide and slip between the ears."""


class SceneConfig(Section):
    """Everything about the twin's scene."""

    table_height: float
    """m: the table's top above the robot's base."""
    bin: BinConfig
    worlds: dict[str, WorldConfig]
    """Must hold "twin" (training, demonstrations) and "real" (the perturbed copy)."""
    starts: StartsConfig
    perception: PerceptionConfig
    success: SuccessConfig
    cameras: dict[str, CameraConfig]
    expert: ExpertConfig

    def world(self, name: str) -> WorldConfig:
        """The physics of world `name`; raises `ConfigError` with the nearest valid name."""
        if name not in self.worlds:
            raise ConfigError(f"the scene has no world {name!r}{nearest(name, self.worlds)}")
        return self.worlds[name]


def parse_scene(raw: dict[str, Any]) -> SceneConfig:
    """Check a task's `scene` section. Raises `ConfigError` with the nearest known key."""
    try:
        return SceneConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("scene: " + "; ".join(explain(SceneConfig, error))) from error
