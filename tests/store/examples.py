"""Episodes for the store's tests."""

from __future__ import annotations

import numpy as np

from robot_rl.store.episode import EndedBy, EpisodeHeader, EpisodeOutcome
from robot_rl.types import Source, Transition

SUCCESS = EpisodeOutcome("success", 12, True, False, True, {"pass": 11, "clipped": 1})


def header(episode: int, adapter_version: int = 4) -> EpisodeHeader:
    return EpisodeHeader(episode, "lid_opening", "usr", "flow", "ab" * 32, adapter_version, 3, 1_700_000_000, "0.1.0")


def outcome(ended_by: EndedBy, complete: bool = True) -> EpisodeOutcome:
    return EpisodeOutcome(ended_by, 60, ended_by != "timeout", ended_by == "timeout", complete, {"pass": 60})


def transition(episode: int, index: int, *, pool: int = 4) -> Transition:
    """One with awkward numbers in it: NaN with a payload, -0.0, a subnormal, and arrays that are not contiguous."""
    rng = np.random.default_rng([episode, index])
    features = rng.standard_normal(11).astype(np.float32)
    features[:3] = np.array([0x7FC12345, 0x80000000, 0x00000001], np.uint32).view(np.float32)
    return Transition(
        episode=episode,
        index=index,
        features=features,
        next_features=rng.standard_normal((11, 2)).astype(np.float32)[:, 0],
        noise=rng.standard_normal((8, 4)).astype(np.float32),
        steer=rng.standard_normal(36).astype(np.float32),
        base_chunk=rng.standard_normal((8, 4)),
        executed_chunk=rng.standard_normal((4, 8)).T,
        k_executed=8,
        discount=0.1 + 0.2,
        terminal=index == 1,
        truncated=False,
        z=rng.standard_normal(16).astype(np.float32),
        next_z=None,
        pool_noise=rng.standard_normal((pool, 8, 4)).astype(np.float32) if pool else None,
        pool_chunks=rng.standard_normal((pool, 8, 4)).astype(np.float32) if pool else None,
        source=Source.HUMAN if index == 1 else Source.POLICY,
    )
