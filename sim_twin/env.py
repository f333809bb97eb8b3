"""The twin as a Gymnasium environment: `robot_rl/LidOpening-v0` and `robot_rl/LidOpeningStrict-v0`.

Actions are the twin's, scaled to [-1, 1]; the reward is 1 when the lid is open by contact, else 0. `reset(seed=...)`
draws from the training starts, so that evaluation starts stay unseen; `options={"split": "evaluate", "episode": 3}`
names one of any stream.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robot_rl.errors import ConfigError, nearest
from robot_rl.task_files import load_task
from robot_rl.twins import Split
from robot_rl.types import Array
from sim_twin.cameras import SceneRenderer
from sim_twin.lid_opening import ACTION_SPACE, CONTROL_HZ, GRIPPER_MAX, LidOpeningTwin
from sim_twin.scene import ARM_JOINTS

JOINT_MARGIN_RAD = 0.1
GRIPPER_MARGIN_M = 0.01
"""How far a simulated joint may be pressed beyond its stop; both stops are soft."""
POSITION_M = 2.0
"""No part of the cell is further from the robot's base than this while an episode lasts."""


class LidOpeningEnv(gymnasium.Env[Any, Array]):
    """One control step a step; observations in SI units."""

    metadata = {  # noqa: RUF012 (an instance variable in Gymnasium's own types)
        "render_modes": ["rgb_array"],
        "render_fps": int(CONTROL_HZ),
    }

    def __init__(
        self, task: str = "lid_opening", world: str = "twin", render_mode: str | None = None, camera: str = "front"
    ) -> None:
        self._task = load_task(task)
        self._twin = LidOpeningTwin(self._task, world)
        self.render_mode = render_mode
        self._renderer: SceneRenderer | None = None
        self._camera = camera
        low, high = np.array(ACTION_SPACE.low), np.array(ACTION_SPACE.high)
        self._mid, self._half = (low + high) / 2, (high - low) / 2
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_SPACE.size,), np.float32)
        joints = np.array([self._twin.model.joint(name).range for name in ARM_JOINTS])
        self.observation_space = spaces.Dict(
            {
                "q": spaces.Box(joints[:, 0] - JOINT_MARGIN_RAD, joints[:, 1] + JOINT_MARGIN_RAD, dtype=np.float64),
                "tcp_pose": _symmetric([POSITION_M] * 3 + [1.0 + 1e-9] * 4),
                "gripper_width": spaces.Box(-GRIPPER_MARGIN_M, GRIPPER_MAX + GRIPPER_MARGIN_M, (1,), np.float64),
                "bin_pose": _symmetric([POSITION_M] * 3 + [4.0]),  # yaw within pi, and its perception noise
            }
        )
        self._steps = 0
        self._stream = 0
        self._episode = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Begin the next episode of a stream; a seed chooses the stream and begins it anew."""
        super().reset(seed=seed)
        options = options or {}
        if seed is not None:
            self._stream, self._episode = seed, 0
        name = str(options.get("split", "train")).upper()
        if name not in Split.__members__:
            raise ConfigError(f"no split {name.lower()!r}{nearest(name, Split.__members__)}")
        episode = int(options.get("episode", self._episode))
        self._episode = episode + 1
        self._twin.reset(self._twin.draw(Split[name], self._stream, episode))
        self._steps = 0
        return self._observe(), self._info()

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        self._twin.apply(self._mid + self._half * np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0))
        self._steps += 1
        truth = self._twin.truth()
        terminated = truth.success or truth.failed
        truncated = not terminated and self._steps >= self._task.max_steps
        return self._observe(), float(truth.success), terminated, truncated, self._info()

    def render(self) -> Array:
        """uint8 [H, W, 3]."""
        if self._renderer is None:
            self._renderer = SceneRenderer(self._twin.model, self._twin.scene)
        return self._renderer.render(self._camera, self._twin.data.qpos)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _observe(self) -> dict[str, Array]:
        seen = self._twin.observe()
        return {
            "q": seen.q,
            "tcp_pose": seen.tcp_pose,
            "gripper_width": np.array([seen.gripper_width]),
            "bin_pose": seen.extra["bin_pose"],
        }

    def _info(self) -> dict[str, Any]:
        truth = self._twin.truth()
        return {"success": truth.success, "lid_angle": truth.lid_angle, "bin_moved": truth.moved}


def _symmetric(bound: list[float]) -> spaces.Box:
    high = np.array(bound)
    return spaces.Box(-high, high, dtype=np.float64)


def register() -> None:
    """Make both environments known to Gymnasium; done once when `sim_twin` is imported with Gymnasium installed."""
    for name, task in (("LidOpening", "lid_opening"), ("LidOpeningStrict", "lid_opening_strict")):
        key = f"robot_rl/{name}-v0"
        if key not in gymnasium.registry:
            gymnasium.register(key, entry_point="sim_twin.env:LidOpeningEnv", kwargs={"task": task})
