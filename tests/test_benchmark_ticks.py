"""The tick benchmark: its arithmetic on made-up blocks, and that it runs with a learner that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.ticks import block, summarise

ROOT = Path(__file__).parent.parent


def test_a_tick_is_late_when_its_work_is_done_too_late() -> None:
    late = block(lambda tick: None, 0.1)
    assert len(late) == 3
    assert (late >= 0).all()


def test_the_difference_is_taken_pair_by_pair() -> None:
    def side(*counts: int) -> list[np.ndarray]:
        return [np.array([0.02] * count + [0.001] * (10 - count)) for count in counts]

    figures = summarise(side(3, 5, 4), side(2, 4, 3))
    assert (figures["late_with_learner"], figures["late_without_learner"], figures["ticks_each"]) == (12, 9, 30)
    assert figures["difference_per_block"] == figures["difference_low"] == figures["difference_high"] == 1
    assert summarise(side(3, 1, 2), side(2, 4, 3))["difference_low"] < 0
