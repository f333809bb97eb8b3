"""Environments by their gymnasium id: how one is made, when an episode has succeeded, and who shows how it is done.

`Meta-World/NAME` (box-close-v3, push-wall-v3, ...) is Meta-World's environment of that name with its scripted expert;
any other id is gymnasium's own, and is given an expert by `--expert`. Some have settings in `benchmarks.gym.known`.

An action is in halves of its range here, from -1 to 1 in every entry, whatever the environment's units are; an expert
is asked, and answers, in the environment's own.
"""

from __future__ import annotations

import importlib
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from benchmarks.gym import metaworld
from robot_rl.errors import ConfigError, nearest
from robot_rl.types import ActionSpace, Array

Env = gymnasium.Env[Any, Any]
Expert = Callable[[Array], Array]
"""Flat observation [S] -> action [A], both in the environment's own units; one for each episode, as it may remember."""
TERMINATED, RETURN, AT_LEAST = "terminated", "return", ">="
"""In `GymTask.success`."""
LONGEST = 200
"""Steps of an episode where neither the environment nor anybody else says."""


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
        few = f"{self.episodes} episode{'s' if self.episodes > 1 else ''}"
        parts = [few, f"noise {self.noise:g}" if self.noise else "", off]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class GymTask:
    """An environment, an expert, and how episodes are counted."""

    env: str
    """Its id."""
    imperfection: Imperfection = Imperfection()
    max_steps: int | None = None
    """Then an episode has failed; None: the environment's own limit, or `LONGEST`."""
    success: str = "success"
    """A key of `info` that is true or false; `KEY>=NUMBER`, of one that is a number, or of `return`, the sum of the
    episode's rewards so far; or `terminated`: the environment ends an episode that has succeeded, and no other."""
    moves: Sequence[int] | None = None
    """Entries of the action that say where to move, of which velocity and acceleration are taken; None: all."""
    expert: str | None = None
    """`module:factory`; the factory is given the environment and returns an `Expert`. None: Meta-World's."""

    @property
    def of_metaworld(self) -> bool:
        return self.env.startswith(metaworld.PREFIX)

    def make(self) -> InHalves:
        """The environment, observation flat and actions from -1 to 1.

        Raises `ConfigError` for one that is not there, does not start, or is not for this.
        """
        env = metaworld.make(self.env) if self.of_metaworld else self._registered()
        if not isinstance(env.action_space, spaces.Box) or not np.issubdtype(env.action_space.dtype, np.floating):
            raise self._unfit("actions that are real numbers between bounds", env.action_space)
        low, high = env.action_space.low, env.action_space.high
        if len(env.action_space.shape) != 1 or not low.size:
            raise self._unfit("a vector of actions", env.action_space)
        with np.errstate(over="ignore"):
            bounded = np.isfinite(high - low).all()  # the largest float32 is a way to say that there is no bound
        if not bounded or not (low < high).all():
            raise self._unfit("actions that are numbers between bounds", env.action_space)
        if not env.observation_space.is_np_flattenable:
            raise self._unfit("observations of a fixed length", env.observation_space)
        if self._criterion[0] == RETURN:
            env = WithReturn(env)
        return InHalves(gymnasium.wrappers.FlattenObservation(env), self.env)

    def steps_of(self, env: Env) -> int:
        """After how many an episode has failed."""
        own = env.spec.max_episode_steps if env.spec is not None else None
        return self.max_steps or own or LONGEST

    def make_expert(self, env: InHalves) -> Expert:
        """For one episode: observation [S] -> action [A] from -1 to 1, which may lie outside.

        Raises `ConfigError` where there is none, and for what it says that is no action.
        """
        its_own = self.expert is None and self.of_metaworld
        expert = metaworld.expert(self.env) if its_own else self._named_expert(env.env)
        who = f"--expert {self.expert}" if self.expert else f"the expert of {self.env}"

        def act(observation: Array) -> Array:
            try:
                action = np.asarray(
                    expert(observation.copy()), np.float64
                )  # Meta-World's write into what they are given
            except Exception as error:
                raise ConfigError(f"{who}: failed where it was asked for an action; {_words(error)}") from error
            if action.shape != env.half.shape or not np.isfinite(action).all():
                raise ConfigError(f"{who}: expected an action of {len(env.half)} finite numbers, got {action}")
            scaled: Array = (action - env.middle) / env.half
            return scaled

        return act

    def expert_source(self) -> str:
        """Of the module of a named expert; what it shows decides what is cloned. Raises `ConfigError`."""
        if self.expert is None:
            return ""
        try:
            return source_of(self.expert.partition(":")[0])
        except Exception as error:
            raise self._no_expert(_words(error)) from error

    def succeeded(self, terminated: bool, info: Mapping[str, Any]) -> bool | None:
        """Whether a step ended in success; None: it does not say. Raises `ConfigError` for what cannot be judged."""
        if self.success == TERMINATED:
            return terminated
        key, least = self._criterion
        if key not in info:
            return None
        said = np.asarray(info[key])
        if said.size != 1 or said.dtype.kind not in "buif" or (said.item() not in (0, 1) if least is None else False):
            expected = "true or false, or 1 or 0," if least is None else "a number"
            raise ConfigError(
                f"--success {self.success}: expected {expected} in the info of {self.env}, got {info[key]!r}"
            )
        return bool(said.item()) if least is None else bool(said.item() >= least)

    def says_nothing(self, keys: Iterable[str], episodes: int) -> ConfigError:
        """For so many episodes in which the environment never said whether they succeeded, only `keys`."""
        key, _ = self._criterion
        has = nearest(key, keys) if keys else "; it is empty"
        return ConfigError(
            f"--env {self.env}: in {episodes} episodes of its expert its info never said {key!r}{has}. Name what does "
            f"by --success; or say how large a number there, or the sum of the rewards, has to be "
            f"(`--success '{RETURN}{AT_LEAST}300'`), or `{TERMINATED}` where the environment ends an episode that has "
            "succeeded, and no other; one that says it at its end alone has to come to it (--max-steps)"
        )

    @property
    def _criterion(self) -> tuple[str, float | None]:
        """A key of `info`, and what it must be at least, if it is a number."""
        key, at_least, number = self.success.partition(AT_LEAST)
        return key, float(number) if at_least else None

    def _registered(self) -> Env:
        limit = {} if self.max_steps is None else {"max_episode_steps": self.max_steps}
        try:
            return gymnasium.make(self.env, **limit)
        except gymnasium.error.NameNotFound as error:
            raise ConfigError(f"--env {self.env}: {error} Meta-World's are {metaworld.PREFIX}NAME") from error
        except Exception as error:
            raise ConfigError(f"--env {self.env}: cannot be made; {_words(error)}") from error

    def _unfit(self, expected: str, got: spaces.Space[Any]) -> ConfigError:
        return ConfigError(f"--env {self.env}: expected {expected}, got {got}")

    def _named_expert(self, env: Env) -> Expert:
        if self.expert is None:
            raise ConfigError(
                f"--env {self.env}: nobody here knows how it is done; name an expert by --expert MODULE:FACTORY"
            )
        module, _, factory = self.expert.partition(":")
        try:
            expert: Expert = getattr(importlib.import_module(module), factory)(env)
        except Exception as error:
            raise self._no_expert(_words(error)) from error
        if not callable(expert):
            raise self._no_expert(f"what the factory returned cannot be asked: {expert!r}")
        return expert

    def _no_expert(self, why: object) -> ConfigError:
        return ConfigError(
            f"--expert {self.expert}: expected MODULE:FACTORY that can be imported and, given the environment, returns "
            f"observation -> action; {why}"
        )


class WithReturn(gymnasium.Wrapper[Any, Any, Any, Any]):
    """`RETURN` in the info of each step: the sum of the episode's rewards so far."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._sum = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._sum = 0.0
        return super().reset(seed=seed, options=options)

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        self._sum += float(reward)
        return observation, reward, terminated, truncated, {**info, RETURN: self._sum}


class InHalves(gymnasium.ActionWrapper[Any, Any, Any]):
    """Actions in halves of their range; what is passed on lies within the environment's own bounds.

    Raises `ConfigError` where the environment fails, or answers what is none of gymnasium's.
    """

    def __init__(self, env: Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        box = env.action_space
        assert isinstance(box, spaces.Box)
        self.middle, self.half = (box.high + box.low) / 2.0, (box.high - box.low) / 2.0
        """[A]: of the environment's own actions, in its units."""
        self.action_space = spaces.Box(-1.0, 1.0, box.shape, np.float32)
        self._box = box

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with self._in_words("reset"):
            observation, info = super().reset(seed=seed, options=options)
        return observation, info

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        with self._in_words("step"):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, bool(terminated), bool(truncated), dict(info)

    @contextmanager
    def _in_words(self, where: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise ConfigError(f"--env {self._name}: failed in its {where}; {_words(error)}") from error

    def action(self, action: Array) -> Array:
        own: Array = np.clip(self.middle + self.half * action, self._box.low, self._box.high)
        return own.astype(self._box.dtype)


@cache
def source_of(module: str) -> str:
    """Of a module that need not have been imported, as it was when it was first asked for.

    Raises whatever finding, reading or parsing it raises.
    """
    found = find_spec(module)
    if found is None:
        raise ModuleNotFoundError(f"no module named {module!r}")
    if not (found.origin or "").endswith(".py"):
        return ""
    with tokenize.open(str(found.origin)) as file:
        source = file.read()
    compile(source, str(found.origin), "exec")
    return source


def space_of(env: Env) -> ActionSpace:
    """Actions from -1 to 1, of an environment that `GymTask.make` made."""
    size = env.action_space.shape[0] if env.action_space.shape else 0
    return ActionSpace(
        kind="gymnasium",
        names=tuple(f"action_{i}" for i in range(size)),
        units=("1",) * size,
        low=(-1.0,) * size,
        high=(1.0,) * size,
    )


def _words(error: Exception) -> str:
    """Of somebody else's code."""
    return f"{type(error).__name__}: {error}"
