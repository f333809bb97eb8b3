"""Demonstrations as transitions: an expert's steps cut into chunks, for a method that learns from prior data (RLPD)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import SpecMismatch
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Source, Transition


def demonstration_episodes(
    recorded: Demonstrations, policy: FrozenPolicy, layout: SteeringLayout, gamma: float
) -> list[list[Transition]]:
    """One list of transitions per demonstration, numbered -1, -2, ...; each is a success by its being one.

    A chunk is the T steps that the expert did from where the last one ended; the features are what the policy makes of
    what the expert saw. No adapter chose anything: steer and noise are 0. Raises `SpecMismatch` for actions that are
    not the policy's.
    """
    horizon, size = policy.spec.horizon, policy.spec.action_space.size
    if recorded.action.shape[1] != size:
        raise SpecMismatch(f"demonstrations: expected {size} entries of an action, got {recorded.action.shape[1]}")
    _, chunks = recorded.windows(horizon)
    episodes = []
    for number, episode in enumerate(np.unique(recorded.episode), start=1):
        steps = np.flatnonzero(recorded.episode == episode)
        begins = steps[::horizon]
        seen = [recorded.observation(row) for row in (*begins, steps[-1])]
        features = policy.encode(seen).features  # [n + 1, F]
        episodes.append(
            [
                Transition(
                    episode=-number,
                    index=i,
                    features=features[i],
                    next_features=features[i + 1],
                    noise=np.zeros(policy.spec.noise_shape, np.float32),
                    steer=np.zeros(layout.size, np.float32),
                    base_chunk=chunks[begin],
                    executed_chunk=chunks[begin],
                    k_executed=min(horizon, len(steps) - i * horizon),
                    discount=gamma,
                    terminal=i == len(begins) - 1,
                    truncated=False,
                    source=Source.HUMAN,
                )
                for i, begin in enumerate(begins)
            ]
        )
    return episodes


def load_prior(path: str, policy: FrozenPolicy, layout: SteeringLayout, gamma: float) -> list[list[Transition]]:
    """The demonstrations in the file `path`. Raises `IntegrityError` when it is none, `SpecMismatch` as that does."""
    return demonstration_episodes(Demonstrations.load(Path(path)), policy, layout, gamma)
