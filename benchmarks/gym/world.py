"""A gymnasium environment as a study's `World`, and an expert's episodes in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from benchmarks.gym.policy import KEY, Demonstrations, StatePolicy
from benchmarks.gym.tasks import GymTask, space_of
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
    """The environment ended it."""


class GymWorld:
    """A `benchmarks.studies.lockstep.World`; one episode at a time, and only its newest state goes on."""

    def __init__(self, task: GymTask, env: gymnasium.Env[Any, Any], policy: StatePolicy) -> None:
        self._task, self._env = task, env
        self.policy = policy

    @property
    def decoder(self) -> ChunkDecoder:
        return self.policy.decoder

    def start(self, rng: np.random.Generator) -> State:
        return State(reset(self._env, rng))

    def observe(self, state: State) -> Observation:
        nothing: Array = np.zeros(0)
        pose = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        extra = {KEY: state.observation}
        return Observation(state.steps, {}, nothing, nothing, pose, 0.0, np.zeros(6), extra=extra)

    def step(self, state: State, chunk: Array) -> State:
        """Up to the end of the episode, if that comes first."""
        for action in chunk:
            state = step(self._task, self._env, state, action)
            if self.outcome(state) is not None:
                break
        return state

    def outcome(self, state: State) -> bool | None:
        if state.success:
            return True
        return False if state.over or state.steps >= self._task.max_steps else None


def reset(env: gymnasium.Env[Any, Any], rng: np.random.Generator) -> Array:
    """The first observation of an episode whose start is drawn from `rng`."""
    observation, _ = env.reset(seed=int(rng.integers(SEEDS)))
    return np.asarray(observation, np.float64)


def step(task: GymTask, env: gymnasium.Env[Any, Any], state: State, action: Array) -> State:
    """One step of the environment."""
    observation, _, terminated, truncated, info = env.step(action.astype(env.action_space.dtype))
    return State(
        np.asarray(observation, np.float64),
        state.steps + 1,
        task.succeeded(bool(terminated), info),
        bool(terminated or truncated),
    )


def demonstrate(task: GymTask, seed: int, done: Callable[[int], None] = lambda number: None) -> Demonstrations:
    """As many episodes as the task's imperfection says, of those that succeed.

    Raises `ConfigError` when the expert does not manage.
    """
    env, rng, fault = task.make(), np.random.default_rng(seed), task.imperfection
    space = space_of(env)
    low, high = np.array(space.low), np.array(space.high)
    off = np.zeros(space.size)
    for entry, amount in fault.bias:
        off[entry] = amount
    states, actions, numbers = [], [], []
    kept = 0
    for _ in range(PATIENCE * fault.episodes):
        state, expert = State(reset(env, rng)), task.make_expert(env)
        seen, done_ = [], []
        while not (state.success or state.over or state.steps >= task.max_steps):
            wrong = off + fault.noise * rng.standard_normal(space.size)
            action = np.clip(np.clip(expert(state.observation), low, high) + 0.5 * (high - low) * wrong, low, high)
            seen.append(state.observation)
            done_.append(action)
            state = step(task, env, state, action)
        if state.success and seen:
            states += seen
            actions += done_
            numbers += [kept] * len(seen)
            kept += 1
            done(kept)
        if kept == fault.episodes:
            env.close()
            return Demonstrations(np.array(states), np.array(actions), np.array(numbers))
    raise ConfigError(
        f"{task.env}: the expert succeeded {kept} times in {PATIENCE * fault.episodes} episodes with {fault}; expected "
        f"{fault.episodes} that succeed"
    )
