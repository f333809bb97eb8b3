"""What each interface's oracle reaches in the twin, and what the base policy's own randomness leaves.

Episodes on starts that are kept for choosing (`Split.SELECT`): learning and evaluation never see those. A chunk is
clipped to the action space and carried out as it is; guard and operator are not needed to know what could be done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_rl.authority.guide import Guide
from robot_rl.authority.interface import Interface, plain_interface
from robot_rl.authority.oracle import ROUNDS, Oracle
from robot_rl.protocols import FrozenPolicy
from robot_rl.twins import Split
from robot_rl.types import Array, Context, Observation

Controller = Callable[[Observation, Context], Array]
"""What is seen, and the policy's context of it (batch 1) -> a chunk [T, A] SI."""


@dataclass(frozen=True)
class Played:
    """One episode."""

    success: bool
    contexts: list[Context]
    """Where each chunk began, batch 1."""


def play(guide: Guide, policy: FrozenPolicy, controller: Controller, max_steps: int, start: tuple[int, int]) -> Played:
    """One episode of `start` (seed, number), at most `max_steps` control steps."""
    guide.reset(Split.SELECT, *start)
    twin, contexts = guide.twin, []
    for _ in range(0, max_steps, policy.spec.horizon):
        observation = twin.observe()
        contexts.append(policy.encode([observation]))
        for action in controller(observation, contexts[-1]):
            guide.follow(twin.observe())
            twin.apply(action)
            truth = twin.truth()
            if truth.success or truth.failed:
                return Played(truth.success, contexts)
    return Played(False, contexts)


def base_controller(policy: FrozenPolicy, rng: np.random.Generator, *, random: bool = True) -> Controller:
    """The frozen policy: w ~ N(0, I), or w = 0."""
    plain = plain_interface(policy.spec)

    def act(observation: Observation, context: Context) -> Array:
        noise = plain.draw_base(rng, 1)
        chunk: Array = plain.chunks(policy, context, np.zeros((1, 0), np.float32), noise if random else 0 * noise)[0]
        return chunk

    return act


def rollouts(
    make: Callable[[np.random.Generator], Controller],
    guide: Guide,
    policy: FrozenPolicy,
    max_steps: int,
    trials: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Played]:
    """`trials` episodes of stream (SELECT, `seed`), each with a controller of its own, drawn from its number."""
    played = []
    for trial in range(trials):
        controller = make(np.random.default_rng((seed, trial)))
        played.append(play(guide, policy, controller, max_steps, (seed, trial)))
        progress(trial + 1)
    return played


def oracle_maker(
    interface: Interface, policy: FrozenPolicy, guide: Guide, *, blind: bool = False, rounds: int = ROUNDS
) -> Callable[[np.random.Generator], Controller]:
    """For `rollouts`."""
    return lambda rng: Oracle(interface, policy, guide, rng, blind, rounds)
