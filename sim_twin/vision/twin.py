"""The lid-opening twin whose observations show what the policy's cameras see, in lockstep.

A picture is drawn when somebody looks at it, and that is once a chunk: software rendering takes longer than a control
step. At real-time pace the cameras are another process's, and the robot observes without them (`protocols.Robot`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from robot_rl.clock import Clock, SteppedClock
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError, nearest
from robot_rl.policy.backbones.settings import parse_backbone
from robot_rl.types import Array, Observation
from sim_twin.cameras import SceneRenderer
from sim_twin.lid_opening import LidOpeningTwin


class SeeingTwin(LidOpeningTwin):
    """Looks through the cameras that the task's policy names."""

    _renderer: SceneRenderer | None = None

    def __init__(
        self, task: TaskConfig, world: str = "twin", clock: Clock | None = None, *, whole: bool = False
    ) -> None:
        """As `LidOpeningTwin`; raises `ConfigError` for a policy that looks at nothing, or at an unknown camera."""
        vision = parse_backbone(task.policy.backbone or {}, task.policy).vision
        if vision is None:
            raise ConfigError("expected policy.backbone.vision with its cameras, for a twin that shows pictures")
        known = task.scene.get("cameras", {})
        for camera in vision.cameras:
            if camera not in known:
                raise ConfigError(f"policy.backbone.vision: no camera {camera!r}{nearest(camera, known)}")
        self.cameras = vision.cameras
        super().__init__(task, world, clock, whole=whole)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()

    def _read(self) -> Observation:
        seen = super()._read()
        if not isinstance(self.clock, SteppedClock):
            return seen
        if self._renderer is None:
            self._renderer = SceneRenderer(self.model, self.scene)
        stamps = dict.fromkeys(self.cameras, seen.stamps_ns["robot"])
        pictures = Pictures(self._renderer, self.cameras, self.joint_positions)
        return replace(seen, stamps_ns={**seen.stamps_ns, **stamps}, images=pictures)


class Pictures(Mapping[str, Array]):
    """Camera -> uint8 [H, W, 3] of one moment, drawn at the first look and kept."""

    def __init__(self, renderer: SceneRenderer, cameras: Sequence[str], qpos: Array) -> None:
        self._renderer, self._cameras, self._qpos = renderer, cameras, qpos
        self._drawn: dict[str, Array] = {}

    def __getitem__(self, camera: str) -> Array:
        if camera not in self._cameras:
            raise KeyError(camera)
        if camera not in self._drawn:
            picture = self._renderer.render(camera, self._qpos)
            picture.flags.writeable = False
            self._drawn[camera] = picture
        return self._drawn[camera]

    def __contains__(self, camera: object) -> bool:
        return camera in self._cameras  # without drawing it

    def __iter__(self) -> Iterator[str]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)
