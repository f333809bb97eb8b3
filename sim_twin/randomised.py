"""Domain randomisation: the twin in another world each episode, drawn around the one that its task file names "twin".

An episode's world is drawn from a stream of its own (split, seed, episode), beside the one of its start: it depends on
nothing else, and a start is the one that the nominal twin would draw. A factor is drawn log-uniformly, so that twice
as much is as likely as half; a shift uniformly. The ranges are round figures for what nobody has measured, symmetric
about the nominal value; none of them is made of the task's world "real".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import mujoco
import numpy as np
from pydantic import Field, ValidationError

from robot_rl.clock import Clock
from robot_rl.config import Section, TaskConfig, explain
from robot_rl.errors import ConfigError
from robot_rl.types import Array
from sim_twin.config import SceneConfig, WorldConfig
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.scene import ARM_JOINTS
from sim_twin.starts import Start, draw_start

STREAM = 1
"""Of an episode's draws, those of its world."""
TOUCHING = ("hand", "left_finger", "right_finger")
"""Bodies of the robot whose contacts have the world's friction."""

Factor = Annotated[float, Field(ge=1, le=10)]
"""f: what is nominal is multiplied by something between 1 / f and f."""


class Ranges(Section):
    """How far a world may be from the nominal one; 1 for a factor and 0 for a shift leave it alone."""

    mass: Factor = 1.25
    """Of the bin's body, and of the lid."""
    friction: Factor = 1.3
    """Of bin, table and finger."""
    hinge: Factor = 2.0
    """Of the lid's damping, and of its dry friction."""
    gain: Factor = 1.3
    """Of the arm's position gains."""
    tracking: Factor = 1.5
    """Of the arm's velocity gains: how far it lags behind its targets."""
    delay_steps: int = Field(default=1, ge=0, le=10)
    """Control steps by which a command may take effect later, at most."""
    height_m: float = Field(default=0.003, ge=0, le=0.05)
    """m: by which the robot's height calibration may be off to either side of its nominal error."""
    camera_m: float = Field(default=0.005, ge=0, le=0.2)
    """m: by which a camera may stand elsewhere, along each axis; it looks the same way."""


def ranges_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """All ranges, those in `raw` in place of the defaults. Raises `ConfigError` with the nearest known name."""
    return _parsed(raw).model_dump()


def randomised(kind: type[LidOpeningTwin], task: TaskConfig, clock: Clock, ranges: Mapping[str, Any]) -> LidOpeningTwin:
    """A twin of `kind` whose starts bring their world along. Raises `ConfigError`."""
    both = type(f"Randomised{kind.__name__}", (RandomWorlds, kind), {})
    twin: RandomWorlds = both(task, "twin", clock)
    twin.ranges = _parsed(ranges)
    return twin


def _parsed(raw: Mapping[str, Any]) -> Ranges:
    try:
        return Ranges.model_validate(dict(raw))
    except ValidationError as error:
        raise ConfigError("ranges of the randomisation: " + "; ".join(explain(Ranges, error))) from error


@dataclass(frozen=True)
class RandomStart(Start):
    """A beginning, and the world in which it is."""

    world: WorldConfig
    cameras: tuple[tuple[float, float, float], ...]
    """m: by how much each camera stands elsewhere, in the order of the scene's."""


def draw_random_start(split: int, seed: int, episode: int, scene: SceneConfig, ranges: Ranges) -> RandomStart:
    """The start of `episode` of stream (split, seed), and its world."""
    rng = np.random.default_rng(np.random.SeedSequence((int(split), seed, episode, STREAM)))
    nominal = scene.world("twin")

    def factor(most: float) -> float:
        return math.exp(rng.uniform(-math.log(most), math.log(most)))

    world = nominal.model_copy(
        update={
            "body_mass": nominal.body_mass * factor(ranges.mass),
            "lid_mass": nominal.lid_mass * factor(ranges.mass),
            "friction": nominal.friction * factor(ranges.friction),
            "lid_damping": nominal.lid_damping * factor(ranges.hinge),
            "lid_friction": nominal.lid_friction * factor(ranges.hinge),
            "gain": nominal.gain * factor(ranges.gain),
            "damping": nominal.damping * factor(ranges.tracking),
            "delay_steps": nominal.delay_steps + int(rng.integers(ranges.delay_steps, endpoint=True)),
            "height_error": nominal.height_error + float(rng.uniform(-ranges.height_m, ranges.height_m)),
        }
    )
    shifts = rng.uniform(-ranges.camera_m, ranges.camera_m, (len(scene.cameras), 3))
    start = draw_start(split, seed, episode, scene.starts, world)
    return RandomStart(**asdict(start), world=world, cameras=tuple((x, y, z) for x, y, z in shifts.tolist()))


class RandomWorlds(LidOpeningTwin):
    """The twin, which enters the world of each start that it is reset to.

    The model is changed in place, to what `build_scene` would build of that world: to build it takes longer than an
    episode.
    """

    ranges: Ranges = Ranges()
    _nominal: _Nominal | None = None

    def draw(self, split: int, seed: int, episode: int) -> Start:
        return draw_random_start(split, seed, episode, self.scene, self.ranges)

    def reset_objects(self, start: Start) -> None:
        if isinstance(start, RandomStart):
            if self._nominal is None:
                self._nominal = _Nominal(self.model, self.scene)
            self._nominal.enter(self.model, start)
            self.world = start.world
        super().reset_objects(start)


class _Nominal:
    """What of a model a world decides, as it was built, and how another world is put in its place."""

    def __init__(self, model: mujoco.MjModel, scene: SceneConfig) -> None:
        self._world, self._scratch = scene.world("twin"), mujoco.MjData(model)
        self._bodies = [model.body(name).id for name in ("bin", "lid")]
        self._mass, self._inertia = model.body_mass[self._bodies].copy(), model.body_inertia[self._bodies].copy()
        touching = {*self._bodies, *(model.body(name).id for name in TOUCHING)}
        self._geoms = [
            geom
            for geom in range(model.ngeom)
            if model.geom_bodyid[geom] in touching
            and (model.geom_bodyid[geom] in self._bodies or model.geom_contype[geom])
        ]
        self._motors = [model.actuator(name).id for name in ARM_JOINTS]
        self._gain, self._bias = (
            model.actuator_gainprm[self._motors].copy(),
            model.actuator_biasprm[self._motors].copy(),
        )
        self._hinge = model.joint("lid_hinge").dofadr[0]
        self._cameras = [model.camera(name).id for name in scene.cameras]
        self._places: Array = model.cam_pos[self._cameras].copy()

    def enter(self, model: mujoco.MjModel, start: RandomStart) -> None:
        nominal, world = self._world, start.world
        heavier = np.array([world.body_mass / nominal.body_mass, world.lid_mass / nominal.lid_mass])
        model.body_mass[self._bodies] = self._mass * heavier
        model.body_inertia[self._bodies] = self._inertia * heavier[:, None]
        model.geom_friction[self._geoms, 0] = world.friction
        model.dof_damping[self._hinge], model.dof_frictionloss[self._hinge] = world.lid_damping, world.lid_friction
        stiffer = world.gain / nominal.gain
        model.actuator_gainprm[self._motors, 0] = self._gain[:, 0] * stiffer
        model.actuator_biasprm[self._motors, 1] = self._bias[:, 1] * stiffer
        damper = world.damping / nominal.damping if nominal.damping else 1.0  # a factor leaves 0 alone
        model.actuator_biasprm[self._motors, 2] = self._bias[:, 2] * damper
        model.cam_pos[self._cameras] = self._places + np.array(start.cameras).reshape(-1, 3)
        mujoco.mj_setConst(model, self._scratch)  # what follows from these
