"""A gymnasium environment as a study's `World`, and an expert's episodes in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gym.policy import KEY, Demonstrations, StatePolicy
from benchmarks.gym.tasks import GymTask, InHalves, space_of
from robot_rl.errors import ConfigError
from robot_rl.policy.backbones.decoder import ChunkDecoder
from robot_rl.types import Array, Observation

SEEDS = 2**31
PATIENCE = 10
"""An expert that fails this many times for every episode that is wanted is none."""


@dataclass(frozen=True)
class State:
    """After some steps of an episode."""

    observation: Array
    """[S]."""
    steps: int = 0
    success: bool = False
    over: bool = False
    """The environment ended it, or it has taken as many steps as it may."""


class Episodes:
    """An environment that is reset and stepped; one episode at a time."""

    def __init__(self, task: GymTask, env: InHalves) -> None:
        self.task, self.env = task, env
        self._longest = task.steps_of(env)
        self.said = False
        """The environment has said at least once whether an episode had succeeded."""
        self.keys: set[str] = set()
        """What its info had."""

    def start(self, rng: np.random.Generator) -> State:
        """The start is drawn from `rng`."""
        observation, _ = self.env.reset(seed=int(rng.integers(SEEDS)))
        return State(self._seen(observation))

    def step(self, state: State, action: Array) -> State:
        """One step by `action` [A] from -1 to 1. What nobody calls a success is none."""
        observation, _, terminated, truncated, info = self.env.step(action.astype(self.env.action_space.dtype))
        success, steps = self.task.succeeded(bool(terminated), info), state.steps + 1
        self.said = self.said or success is not None
        self.keys.update(info)
        return State(
            self._seen(observation), steps, bool(success), bool(terminated or truncated or steps >= self._longest)
        )

    def _seen(self, observation: Any) -> Array:
        seen = np.asarray(observation, np.float64)
        if not np.isfinite(seen).all():
            raise ConfigError(f"--env {self.task.env}: expected observations that are finite, got {seen}")
        return seen


class GymWorld:
    """A `benchmarks.studies.lockstep.World`; only the newest state of its one episode goes on."""

    def __init__(self, task: GymTask, env: InHalves, policy: StatePolicy) -> None:
        self._episodes = Episodes(task, env)
        self.policy = policy

    @property
    def decoder(self) -> ChunkDecoder:
        return self.policy.decoder

    def start(self, rng: np.random.Generator) -> State:
        return self._episodes.start(rng)

    def observe(self, state: State) -> Observation:
        nothing: Array = np.zeros(0)
        pose = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        extra = {KEY: state.observation}
        return Observation(state.steps, {}, nothing, nothing, pose, 0.0, np.zeros(6), extra=extra)

    def step(self, state: State, chunk: Array) -> State:
        """Up to the end of the episode, if that comes first."""
        for action in chunk:
            state = self._episodes.step(state, action)
            if self.outcome(state) is not None:
                break
        return state

    def outcome(self, state: State) -> bool | None:
        if state.success:
            return True
        return False if state.over else None


def demonstrate(task: GymTask, seed: int, done: Callable[[int], None] = lambda number: None) -> Demonstrations:
    """As many episodes as the task's imperfection says, of those that succeed.

    Raises `ConfigError` when the expert does not manage.
    """
    env, rng, fault = task.make(), np.random.default_rng(seed), task.imperfection
    episodes, off = Episodes(task, env), np.zeros(space_of(env).size)
    for entry, amount in fault.bias:
        off[entry] = amount
    states, actions, numbers = [], [], []
    kept = 0
    for tried in range(PATIENCE * fault.episodes):
        if tried == PATIENCE and not episodes.said:
            break
        state, expert = episodes.start(rng), task.make_expert(env)
        seen, carried_out = [], []
        while not (state.success or state.over):
            wrong = off + fault.noise * rng.standard_normal(len(off))
            action = np.clip(np.clip(expert(state.observation), -1.0, 1.0) + wrong, -1.0, 1.0)
            seen.append(state.observation)
            carried_out.append(action)
            state = episodes.step(state, action)
        if state.success and seen:
            states += seen
            actions += carried_out
            numbers += [kept] * len(seen)
            kept += 1
            done(kept)
        if kept == fault.episodes:
            env.close()
            return Demonstrations(np.array(states), np.array(actions), np.array(numbers))
    if not episodes.said:
        raise task.says_nothing(episodes.keys, PATIENCE)
    raise ConfigError(
        f"{task.env}: the expert succeeded {kept} times in {PATIENCE * fault.episodes} episodes with {fault}; expected "
        f"{fault.episodes} that succeed"
    )
