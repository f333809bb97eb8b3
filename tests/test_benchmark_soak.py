"""The soak's arithmetic: slopes of what grows, and which steps came late."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import Diary, lateness_ms, slope
from robot_rl.clock import MS, SECOND
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.run import RunDirectory, RunInfo
from tests.console.recorded import step
from tests.store.examples import SUCCESS, header


def test_what_grows_has_a_slope_and_what_filled_up_at_first_has_none() -> None:
    diary = Diary()
    for minute in range(60):
        leaking, filled = 100 + minute, 50 + min(minute, 10)
        diary.add(minute / 60, {"leak": leaking, "buffer": filled, "gone": None, "episodes": 5 * minute})
    found = diary.summary()
    assert found["leak"]["per_hour"] == pytest.approx(60)
    assert found["leak"]["per_100_episodes"] == pytest.approx(20)
    assert found["leak"]["per_hour_low"] <= 60 <= found["leak"]["per_hour_high"]
    assert found["buffer"]["per_hour"] == found["buffer"]["per_hour_high"] == 0
    assert "gone" not in found


def test_without_an_episode_there_is_no_slope_by_episodes() -> None:
    assert math.isnan(slope([(1.0, 2.0), (1.0, 3.0), (1.0, 4.0)])[""])
    assert math.isnan(slope([])[""])


def test_a_step_is_late_by_what_came_after_a_period_and_pauses_do_not_count(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", RunInfo("lid_opening", "usr", 3, "ab", "0.1.0"))
    writer = EpisodeWriter(run, header(1))
    stamps_ms = [0, 50, 103, 150, 5150, 5200]
    for i, stamp in enumerate(stamps_ms):
        writer.write("/steps", SECOND + stamp * MS, step(i))
    writer.close(SUCCESS)
    early, late = lateness_ms(run, [(0, SECOND + 120 * MS), (SECOND + 120 * MS, 100 * SECOND)])
    np.testing.assert_allclose(early, [0, 3])
    np.testing.assert_allclose(late, [-3, 0], atol=1e-6)
