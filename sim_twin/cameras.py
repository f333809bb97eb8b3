"""The twin's cameras: a renderer of one scene, cameras for the loop, and a process that renders beside the robot.

Software rendering costs vertices, not pixels: live pictures use the collision meshes; `fine` ones the visual meshes.
"""

from __future__ import annotations

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # headless; before mujoco is imported

import mujoco

from robot_rl.errors import ConfigError, nearest
from robot_rl.types import Array
from sim_twin.config import SceneConfig
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.scene import COLLISION_GROUP, PROP_GROUP, VISUAL_GROUP


class SceneRenderer:
    """Pictures of a scene from joint positions alone; it owns its data, so that it can live in a process of its own."""

    def __init__(
        self, model: mujoco.MjModel, scene: SceneConfig, *, fine: bool = False, size: tuple[int, int] | None = None
    ) -> None:
        """`size` (width, height) in pixels instead of the cameras' own."""
        self._model, self._scene = model, scene
        self._data = mujoco.MjData(model)
        self._size = size
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[[PROP_GROUP, VISUAL_GROUP if fine else COLLISION_GROUP]] = 1

    def render(self, camera: str, qpos: Array) -> Array:
        """uint8 [H, W, 3] RGB of the scene at `qpos` [nq]. Raises `ConfigError` for an unknown camera."""
        if camera not in self._scene.cameras:
            raise ConfigError(f"no camera {camera!r}{nearest(camera, self._scene.cameras)}")
        config = self._scene.cameras[camera]
        size = self._size or (config.width, config.height)
        if size not in self._renderers:
            self._renderers[size] = mujoco.Renderer(self._model, height=size[1], width=size[0])
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        renderer = self._renderers[size]
        renderer.update_scene(self._data, camera, self._option)
        image: Array = renderer.render().copy()
        return image

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


class TwinCamera:
    """A `Camera` that looks at the twin as it stands; stamps are those of the twin's clock."""

    def __init__(self, twin: LidOpeningTwin, name: str, renderer: SceneRenderer) -> None:
        self._twin, self._name, self._renderer = twin, name, renderer
        self._seq = 0

    @property
    def name(self) -> str:
        return self._name

    def read(self) -> tuple[int, int, Array]:
        self._seq += 1
        return self._seq, self._twin.clock.now_ns(), self._renderer.render(self._name, self._twin.data.qpos)

    def close(self) -> None:
        """The renderer is shared; whoever made it closes it."""
