"""Where episodes begin: seeded draws, with disjoint streams for training, choosing and evaluating."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim_twin.config import StartsConfig, WorldConfig


@dataclass(frozen=True)
class Start:
    """One episode's beginning, and the seed of everything random in it."""

    x: float
    y: float
    yaw: float
    """m, m, rad: the bin's pose in the base frame."""
    height_error: float
    """m: the TCP is lower than believed by this."""
    seed: int


def draw_start(split: int, seed: int, episode: int, starts: StartsConfig, world: WorldConfig) -> Start:
    """The start of `episode` of stream (split, seed)."""
    rng = np.random.default_rng(np.random.SeedSequence((int(split), seed, episode)))
    return Start(
        x=float(rng.uniform(*starts.x)),
        y=float(rng.uniform(*starts.y)),
        yaw=float(rng.uniform(*starts.yaw)),
        height_error=float(world.height_error + world.height_error_std * rng.standard_normal()),
        seed=int(rng.integers(2**62)),
    )
