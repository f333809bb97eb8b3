"""A small gymnasium environment of the tests' own: a point on a line that is to come to a mark."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from benchmarks.gym.tasks import Expert
from robot_rl.types import Array

ID = "robot_rl_tests/Point-v0"
LATE, WIDE, FLAT, BLIND, PAID, ALIVE = (
    f"robot_rl_tests/{name}-v0" for name in ("Late", "Wide", "Flat", "Blind", "Paid", "Alive")
)
"""Says whether it succeeded in its last step alone; acts from 0 to 512; has an action without room; sees a NaN; has a
reward of 1 for each step at the mark, and how far off it is, and says nothing of success; has 1 more in every step."""
FAULTY = {
    name: f"robot_rl_tests/{name}-v0" for name in ("Raises", "Resets", "Mute", "Short", "Unseeded", "Longer", "Huge")
}
"""Fails in its step; in its reset; has no info; returns four; ignores its seed; sees more than it says; no bounds."""
REACHED = 0.05


class PointEnv(gymnasium.Env[dict[str, Array], Array]):
    """Observes where point and mark are; an action moves the point by a tenth of itself."""

    def __init__(
        self,
        *,
        late: bool = False,
        low: float = -1.0,
        high: tuple[float, float] = (1.0, 1.0),
        blind: bool = False,
        paid: float | None = None,
    ) -> None:
        bounds = spaces.Box(-2.0, 2.0, (1,), np.float64)
        self.observation_space = spaces.Dict({"point": bounds, "mark": bounds})  # type: ignore[assignment]
        self.action_space = spaces.Box(np.full(2, low, np.float32), np.array(high, np.float32), dtype=np.float32)
        self._late, self._blind, self._paid = late, blind, paid
        self._middle, self._half = (low + high[0]) / 2, (high[0] - low) / 2
        self._at = self._mark = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        super().reset(seed=seed)
        self._at, self._mark = (float(value) for value in self.np_random.uniform(-0.5, 0.5, 2))
        return self._seen(), {}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        self._at = float(np.clip(self._at + 0.1 * (action[0] - self._middle) / self._half, -2.0, 2.0))
        reached = abs(self._at - self._mark) < REACHED
        if self._paid is not None:
            return (
                self._seen(),
                float(reached) + self._paid,
                False,
                False,
                {"far": abs(self._at - self._mark), "returned": True},
            )
        if self._late:
            return self._seen(), 0.0, reached, False, {"success": True} if reached else {}
        return self._seen(), 0.0, False, False, {"success": reached}

    def _seen(self) -> dict[str, Array]:
        return {"mark": np.array([self._mark]), "point": np.array([np.nan if self._blind else self._at])}


class FaultyEnv(PointEnv):
    """With one of the faults of `FAULTY`."""

    def __init__(self, fault: str) -> None:
        most = float(np.finfo(np.float32).max) if fault == "Huge" else 1.0
        super().__init__(low=-most, high=(most, most))
        self._fault = fault

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        if self._fault == "Resets":
            raise RuntimeError("no simulator")
        return super().reset(seed=None if self._fault == "Unseeded" else seed, options=options)

    def step(self, action: Array) -> Any:
        if self._fault == "Raises":
            raise RuntimeError("the simulator is gone")
        seen, reward, terminated, truncated, info = super().step(action)
        if self._fault == "Short":
            return seen, reward, terminated, info
        return seen, reward, terminated, truncated, None if self._fault == "Mute" else info

    def _seen(self) -> dict[str, Array]:
        return {name: np.repeat(seen, 2 if self._fault == "Longer" else 1) for name, seen in super()._seen().items()}


def expert(env: gymnasium.Env[Any, Any]) -> Expert:
    """Goes to the mark."""
    return lambda seen: np.array([np.clip(5.0 * (seen[0] - seen[1]), -0.5, 0.5), 0.0])


def lost(env: gymnasium.Env[Any, Any]) -> Expert:
    """Goes away from it."""
    return lambda seen: np.array([np.clip(-5.0 * (seen[0] - seen[1]), -0.5, 0.5), 0.0])


def wide_expert(env: gymnasium.Env[Any, Any]) -> Expert:
    """As `expert`, in the units of `WIDE`."""
    narrow = expert(env)
    return lambda seen: 256.0 + 256.0 * narrow(seen)


def scribbler(env: gymnasium.Env[Any, Any]) -> Expert:
    """As `expert`, and writes into what it is given, as some of Meta-World's do."""
    careful = expert(env)

    def act(seen: Array) -> Array:
        action = careful(seen)
        seen += 7.0
        return action

    return act


def noone(env: gymnasium.Env[Any, Any]) -> None:
    """No expert at all."""


def raiser(env: gymnasium.Env[Any, Any]) -> Expert:
    """Fails."""

    def act(seen: Array) -> Array:
        raise ValueError("no idea")

    return act


def scalar(env: gymnasium.Env[Any, Any]) -> Any:
    """One number where there are two."""
    return lambda seen: 0.5


gymnasium.register(ID, PointEnv, max_episode_steps=24)
gymnasium.register(LATE, PointEnv, max_episode_steps=24, kwargs={"late": True})
gymnasium.register(WIDE, PointEnv, max_episode_steps=24, kwargs={"low": 0.0, "high": (512.0, 512.0)})
gymnasium.register(FLAT, PointEnv, max_episode_steps=24, kwargs={"high": (1.0, -1.0)})
for one, faulty in FAULTY.items():
    gymnasium.register(faulty, FaultyEnv, max_episode_steps=24, kwargs={"fault": one}, disable_env_checker=True)
gymnasium.register(BLIND, PointEnv, max_episode_steps=24, kwargs={"blind": True})
gymnasium.register(PAID, PointEnv, max_episode_steps=24, kwargs={"paid": 0.0})
gymnasium.register(ALIVE, PointEnv, max_episode_steps=24, kwargs={"paid": 1.0})
