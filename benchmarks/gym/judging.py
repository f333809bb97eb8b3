"""A method trained on an environment, and what came of it: success, and how gently it moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.gym.settings import Frozen, settings_of
from benchmarks.gym.world import GymWorld
from benchmarks.studies.lockstep import Played, base_adapter, train, trials
from robot_rl.compositions.results import Rate
from robot_rl.types import Array

LOOKED_AT, LOOKS = 2000, 10
"""Seed and number of the episodes in which the frozen policy's latents are looked at."""
AT_BOUND = 0.98
"""Of half the range."""
EXPLORED = 4
"""One of so many trials is played again while exploring, for how the method moves."""


def train_and_judge(
    world: GymWorld,
    method: str,
    seed: int,
    episodes: int,
    count: int,
    moves: Sequence[int] | None,
    done: Callable[[int], None] = lambda number: None,
) -> dict[str, Any]:
    """The newest adapter against the frozen policy in `count` trials on the same starts, and how both move.

    `moves`: entries of the action that say where to move, None: all. Motion is of the starts that are explored too, in
    the episodes that succeeded: one that fails goes on, and moves otherwise, until its time is up. None: none has.
    """
    began = time.monotonic()
    space = world.policy.spec.action_space
    config = settings_of(method, Frozen(space, world.policy.spread, latents(world)))
    training = train(world, method, config, seed, episodes, done=done)
    seconds = time.monotonic() - began
    explored = max(1, count // EXPLORED)
    base = trials(world, base_adapter(world), count, seed)
    adapted = trials(world, training.adapter, count, seed)
    exploring = trials(world, training.adapter, explored, seed, explore=True)
    entries = list(range(space.size)) if moves is None else list(moves)
    found: dict[str, Any] = {}
    for name, played in (("base_", base), ("", adapted), ("exploring_", exploring)):
        rate = Rate(sum(one.success for one in played), len(played))
        found |= {f"{name}success": rate.rate, f"{name}interval": [round(end, 4) for end in rate.interval]}
        found[f"{name}motion"] = [
            motion(carried_out(one)[:, entries]) if one.success else None for one in played[:explored]
        ]
    moved = [carried_out(one)[:, entries] for one in base if one.success]
    found["base_at_bound"] = at_bound(np.concatenate(moved)) if moved else None
    return {**found, "curve": training.curve, "training_seconds": round(seconds, 1)}


def latents(world: GymWorld) -> Array:
    """[n, Z] that the frozen policy has at work, in episodes that are neither trained on nor judged."""
    played = trials(world, base_adapter(world), LOOKS, LOOKED_AT)
    return np.array([transition.z for one in played for transition in one.transitions])


def carried_out(played: Played) -> Array:
    """[steps, A]: the actions of an episode up to its end, which may come within the last chunk."""
    actions: Array = played.executed[: played.last.steps]
    return actions


def at_bound(actions: Array) -> float:
    """Share of steps [steps, moves] that ask for all the range allows, by any entry: what is added there is cut off."""
    return float(f"{(np.abs(actions) > AT_BOUND).any(1).mean():.4g}")


def motion(actions: Array) -> tuple[float, float] | None:
    """Of actions [steps, moves] as commanded: mean |a_t|, and mean |a_(t+1) - a_t| (ZPRL, table II).

    In halves of the action's range a step, and a step^2; None for a single step, which has no change.
    """
    if len(actions) < 2:
        return None
    speeds, changes = (float(np.linalg.norm(part, axis=1).mean()) for part in (actions, np.diff(actions, axis=0)))
    return float(f"{speeds:.5g}"), float(f"{changes:.5g}")
