"""The graph's benchmark: its arithmetic on made-up blocks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import ros_graph
from benchmarks.ros_graph import BARE, WITH, ZMQ, Block, looked, periods_ms
from robot_rl.clock import MS

BLOCKS = [Block(WITH, 0, 1000 * MS), Block(BARE, 2000 * MS, 3000 * MS)]


def test_frames_count_in_their_block_and_what_never_came_is_lost() -> None:
    frames = [("front", 1, -5 * MS, 9.0)]
    frames += [("front", number, 30 * number * MS, 1.0) for number in (2, 3, 5)]
    frames += [("side", number, 30 * number * MS, 3.0) for number in (2, 3, 4)]
    frames += [("front", 90, 2500 * MS, 9.0)]
    ages, lost = looked(frames, BLOCKS, WITH)
    assert sorted(ages) == [1.0, 1.0, 1.0, 3.0, 3.0, 3.0]
    assert lost == 1
    assert looked(frames, BLOCKS, ZMQ)[1] == 0


def test_a_control_period_counts_in_the_block_that_it_lies_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def step(at_ms: int, chunk: int) -> Any:
        return SimpleNamespace(stamp_ns=at_ms * MS, body={"chunk": chunk})

    steps = [step(at, 1) for at in (900, 950, 1012, 2000, 2050)] + [step(2111, 2), step(2500, 5)]
    monkeypatch.setattr(ros_graph, "read_messages", lambda folder, topic: steps)
    run: Any = SimpleNamespace(closed_episodes=lambda: [1], episode=lambda number: tmp_path)
    periods = periods_ms(run, BLOCKS)
    np.testing.assert_allclose(periods[WITH], [50])
    np.testing.assert_allclose(periods[BARE], [50, 61])  # not the hold between chunks 2 and 5
