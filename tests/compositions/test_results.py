"""Rates with their intervals, and what a run leaves to look at."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robot_rl.compositions.results import (
    Rate,
    draw_curve,
    draw_history,
    moving_average,
    write_json_results,
    write_tensorboard,
)

CURVE = [(episode, int(episode > 6)) for episode in range(1, 13)]


def test_the_interval_is_wilsons() -> None:
    """Reference values by the closed form, z = 1.959964."""
    n, p, z = 100, 0.4, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert Rate(40, 100).interval == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert Rate(40, 100).rate == 0.4


@given(trials=st.integers(1, 300), share=st.floats(0, 1))
def test_the_interval_holds_the_rate_and_stays_a_probability(trials: int, share: float) -> None:
    rate = Rate(round(share * trials), trials)
    low, high = rate.interval
    assert 0.0 <= low <= rate.rate + 1e-12
    assert rate.rate - 1e-12 <= high <= 1.0
    assert low < high


def test_more_trials_say_more() -> None:
    widths = [high - low for low, high in (Rate(n // 2, n).interval for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)


def test_a_rate_is_printed_with_its_interval_and_counts() -> None:
    assert str(Rate(40, 100)) == "0.40 [0.31, 0.50] (40/100)"


def test_the_moving_average_is_of_the_last_few() -> None:
    assert moving_average([0, 1, 1, 0, 0, 0], window=3) == pytest.approx([0, 1 / 2, 2 / 3, 2 / 3, 1 / 3, 0])
    assert len(moving_average([])) == 0


@given(st.lists(st.integers(0, 1), min_size=1, max_size=60), st.integers(1, 30))
def test_the_moving_average_is_the_mean_of_each_window(outcomes: list[int], window: int) -> None:
    expected = [np.mean(outcomes[max(0, end - window) : end]) for end in range(1, len(outcomes) + 1)]
    assert np.allclose(moving_average(outcomes, window), expected)


def test_results_are_json_and_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    write_json_results(path, {"trials": 3, "base_success": 1 / 3})
    assert json.loads(path.read_text()) == {"trials": 3, "base_success": 1 / 3}
    assert os.listdir(tmp_path) == ["evaluation.json"]


@pytest.mark.parametrize(
    ("curve", "warmup", "base", "final"),
    [(CURVE, 3, Rate(4, 10), Rate(9, 10)), (CURVE, 0, None, None), ([(1, 0)], 10, Rate(0, 5), Rate(5, 5))],
)
def test_the_curve_is_a_picture_with_ink_in_it(
    tmp_path: Path, curve: list[tuple[int, int]], warmup: int, base: Rate | None, final: Rate | None
) -> None:
    path = tmp_path / "results" / "curve.png"
    draw_curve(path, "Open the lid", curve, warmup, base, final)
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[0] > 400
    assert picture.shape[1] > 800
    assert 0.005 < (picture.max(-1) < 200).mean() < 0.5  # lines and letters; shading is lighter


def test_the_curve_shows_what_is_in_it(tmp_path: Path) -> None:
    pictures = []
    for name, final in (("one", Rate(9, 10)), ("other", Rate(2, 10)), ("same", Rate(9, 10))):
        draw_curve(tmp_path / f"{name}.png", "Open the lid", CURVE, 3, Rate(4, 10), final)
        pictures.append(np.asarray(Image.open(tmp_path / f"{name}.png")))
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])


def test_tensorboard_has_the_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_tensorboard(tmp_path, CURVE, {"evaluation/base": 0.4})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("success/episode")]
    assert shown == [(episode, float(value)) for episode, value in CURVE]
    means = [event.value for event in events.Scalars("success/mean_20")]
    assert means == pytest.approx(moving_average([value for _, value in CURVE]).tolist())
    assert [(event.step, event.value) for event in events.Scalars("evaluation/base")] == [(12, pytest.approx(0.4))]


HISTORY = [(3, {}), (4, {"td_loss": 0.5, "multiplier": 0.0}), (5, {"td_loss": 0.25, "multiplier": 0.1})]


def test_tensorboard_has_what_the_learner_said(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_tensorboard(tmp_path, CURVE, {}, HISTORY)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("learner/td_loss")] == [(4, 0.5), (5, 0.25)]


def test_the_learners_figures_are_drawn_with_their_aims(tmp_path: Path) -> None:
    pictures = []
    for aims in ({}, {"multiplier": (0.0, 0.05)}, {}):
        draw_history(tmp_path / "learner.png", "Open the lid", HISTORY, aims)
        pictures.append(np.asarray(Image.open(tmp_path / "learner.png")))
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])


def test_a_learner_that_said_nothing_is_not_drawn(tmp_path: Path) -> None:
    draw_history(tmp_path / "learner.png", "Open the lid", [(1, {})], {})
    assert not list(tmp_path.iterdir())


def test_tensorboard_of_an_empty_run_is_no_error(tmp_path: Path) -> None:
    write_tensorboard(tmp_path, [], {"evaluation/base": 0.5})
    assert list(tmp_path.iterdir())
