"""A small gymnasium environment of the tests' own: a point on a line that is to come to a mark."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from benchmarks.gym.tasks import Expert
from robot_rl.types import Array

ID = "robot_rl_tests/Point-v0"
REACHED = 0.05


class PointEnv(gymnasium.Env[dict[str, Array], Array]):
    """Observes where point and mark are; an action moves the point by a tenth of itself."""

    def __init__(self, says: str = "success") -> None:
        bounds = spaces.Box(-2.0, 2.0, (1,), np.float64)
        self.observation_space = spaces.Dict({"point": bounds, "mark": bounds})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._says = says
        self._at = self._mark = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        super().reset(seed=seed)
        self._at, self._mark = (float(value) for value in self.np_random.uniform(-0.5, 0.5, 2))
        return self._seen(), {}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        self._at = float(np.clip(self._at + 0.1 * action[0], -2.0, 2.0))
        return self._seen(), 0.0, False, False, {self._says: abs(self._at - self._mark) < REACHED}

    def _seen(self) -> dict[str, Array]:
        return {"mark": np.array([self._mark]), "point": np.array([self._at])}


def expert(env: gymnasium.Env[Any, Any]) -> Expert:
    """Goes to the mark."""
    return lambda seen: np.array([np.clip(5.0 * (seen[0] - seen[1]), -0.5, 0.5), 0.0])


def lost(env: gymnasium.Env[Any, Any]) -> Expert:
    """Goes away from it."""
    return lambda seen: np.array([np.clip(-5.0 * (seen[0] - seen[1]), -0.5, 0.5), 0.0])


gymnasium.register(ID, PointEnv)
