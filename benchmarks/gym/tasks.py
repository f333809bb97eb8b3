"""Environments by their gymnasium id: how one is made, when an episode has succeeded, and who shows how it is done.

`Meta-World/NAME` (box-close-v3, push-wall-v3, ...) is Meta-World's environment of that name with its scripted expert;
any other id is gymnasium's own, and is given an expert by `--expert`. Some have settings in `benchmarks.gym.known`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from robot_rl.errors import ConfigError, nearest
from robot_rl.types import ActionSpace, Array

Expert = Callable[[Array], Array]
"""Flat observation [S] -> action [A]; one for each episode, as it may remember."""
METAWORLD = "Meta-World/"


@dataclass(frozen=True)
class Imperfection:
    """What is wrong with the demonstrations, by name."""

    episodes: int = 50
    """few: how many there are; those that succeed are kept."""
    noise: float = 0.0
    """noisy: standard deviation of what is added to each action that is carried out, in halves of its range."""
    bias: tuple[tuple[int, float], ...] = ()
    """biased: entry of the action -> what the expert's hand is off by, in halves of its range."""

    def __str__(self) -> str:
        off = ", ".join(f"action {entry} off by {amount:+g}" for entry, amount in self.bias)
        parts = [f"{self.episodes} episodes", f"noise {self.noise:g}" if self.noise else "", off]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class GymTask:
    """An environment, an expert, and how episodes are counted."""

    env: str
    """Its id."""
    imperfection: Imperfection = Imperfection()
    max_steps: int = 200
    """Then an episode has failed."""
    success: str = "success"
    """A key of `info`, or `terminated`: the environment ends an episode that has succeeded, and no other."""
    moves: Sequence[int] | None = None
    """Entries of the action that say where to move, of which velocity and acceleration are taken; None: all."""
    expert: str | None = None
    """`module:factory`; the factory is given the environment and returns an `Expert`. None: Meta-World's."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """The environment, its observation flat. Raises `ConfigError` for one that is not there or is not for this."""
        if self.env.startswith(METAWORLD):
            env = _metaworld(self.env.removeprefix(METAWORLD))
        else:
            try:
                env = gymnasium.make(self.env)
            except gymnasium.error.Error as error:
                raise ConfigError(f"--env {self.env}: {error}") from error
        if (
            not isinstance(env.action_space, spaces.Box)
            or not np.isfinite([env.action_space.low, env.action_space.high]).all()
        ):
            raise ConfigError(
                f"--env {self.env}: expected actions that are numbers between bounds, got {env.action_space}"
            )
        if len(env.action_space.shape) != 1:
            raise ConfigError(f"--env {self.env}: expected a vector of actions, got {env.action_space.shape}")
        return gymnasium.wrappers.FlattenObservation(env)

    def make_expert(self, env: gymnasium.Env[Any, Any]) -> Expert:
        """For one episode. Raises `ConfigError` where there is none."""
        if self.expert is not None:
            module, _, factory = self.expert.partition(":")
            try:
                expert: Expert = getattr(importlib.import_module(module), factory)(env)
            except (ImportError, AttributeError, ValueError) as error:
                raise ConfigError(
                    f"--expert {self.expert}: expected MODULE:FACTORY that can be imported; {error}"
                ) from error
            return expert
        if self.env.startswith(METAWORLD):
            return _metaworld_expert(self.env.removeprefix(METAWORLD))
        raise ConfigError(
            f"--env {self.env}: nobody here knows how it is done; name an expert by --expert MODULE:FACTORY"
        )

    def succeeded(self, terminated: bool, info: Mapping[str, Any]) -> bool:
        """Whether a step ended in success. Raises `ConfigError` where the environment does not say."""
        if self.success == "terminated":
            return terminated
        if self.success not in info:
            raise ConfigError(
                f"--env {self.env}: its info does not say {self.success!r}{nearest(self.success, list(info))}; name "
                "what does by --success, or `terminated`"
            )
        return bool(info[self.success])


def space_of(env: gymnasium.Env[Any, Any]) -> ActionSpace:
    """Actions in the environment's own units."""
    box = env.action_space
    assert isinstance(box, spaces.Box)
    size = box.shape[0]
    return ActionSpace(
        kind="gymnasium",
        names=tuple(f"action_{i}" for i in range(size)),
        units=("1",) * size,
        low=tuple(float(value) for value in box.low),
        high=tuple(float(value) for value in box.high),
    )


# --- Meta-World -----------------------------------------------------------------------------------------------------


def _metaworld(name: str) -> gymnasium.Env[Any, Any]:
    """With its goal in the observation, and another start with every seed."""
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE as known  # type: ignore[import-not-found]
    except ImportError as error:
        raise ConfigError(
            f"{METAWORLD}{name}: Meta-World is not here ({error}); it needs an environment of its own, see "
            "`python -m benchmarks.gym --help`"
        ) from error
    key = f"{name}-goal-observable"
    if key not in known:
        names = [one.removesuffix("-goal-observable") for one in known]
        raise ConfigError(f"--env {METAWORLD}{name}: no such environment{nearest(name, names)}")
    return _Seeded(known[key]())


class _Seeded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Meta-World's environments take no seed when they are reset: each start is a function of the seed here."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._metaworld = cast(Any, env)
        self._metaworld.seeded_rand_vec, self._metaworld._freeze_rand_vec = True, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._metaworld.seed(seed)
        return self._metaworld.reset()  # type: ignore[no-any-return]


def _metaworld_expert(name: str) -> Expert:
    from metaworld.policies import ENV_POLICY_MAP  # type: ignore[import-not-found]

    expert: Expert = ENV_POLICY_MAP[name]().get_action
    return expert
