"""Starts: seeded, inside their region, and never shared between splits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from robot_rl.config import TaskConfig
from robot_rl.twins import Split
from sim_twin.config import parse_scene
from sim_twin.starts import Start, draw_start


def draw(task: TaskConfig, split: int, seed: int, episode: int, world: str = "twin") -> Start:
    scene = parse_scene(task.scene)
    return draw_start(split, seed, episode, scene.starts, scene.worlds[world])


def test_the_same_three_numbers_give_the_same_start(task: TaskConfig) -> None:
    assert draw(task, Split.TRAIN, 3, 8) == draw(task, Split.TRAIN, 3, 8)


def test_no_two_splits_seeds_or_episodes_share_a_start(task: TaskConfig) -> None:
    """All four splits, the seeds of training and tuning, 150 episodes each; every place and every seed once."""
    seeds = (*task.protocol.seeds, *task.protocol.tuning_seeds)
    streams = itertools.product(Split, seeds, range(1, 151))
    starts = [draw(task, *stream) for stream in streams]
    assert len({start.seed for start in starts}) == len(starts)
    assert len({(start.x, start.y, start.yaw) for start in starts}) == len(starts)


def test_the_seeds_of_the_table_are_not_those_of_tuning(task: TaskConfig, strict: TaskConfig) -> None:
    for protocol in (task.protocol, strict.protocol):
        assert not set(protocol.seeds) & set(protocol.tuning_seeds)


def test_starts_fill_their_region(task: TaskConfig) -> None:
    region = parse_scene(task.scene).starts
    starts = [draw(task, Split.TRAIN, 0, episode) for episode in range(500)]
    for name in ("x", "y", "yaw"):
        low, high = getattr(region, name)
        values = np.array([getattr(start, name) for start in starts])
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_another_world_has_the_same_places_and_its_own_error(task: TaskConfig) -> None:
    twin, real = (draw(task, Split.EVALUATE, 0, 1, world) for world in ("twin", "real"))
    assert (twin.x, twin.y, twin.yaw) == (real.x, real.y, real.yaw)
    assert twin.height_error != real.height_error
