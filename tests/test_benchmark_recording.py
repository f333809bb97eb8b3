"""The recording benchmark: its arithmetic, and that it runs with the real store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.recording import summarise

ROOT = Path(__file__).parent.parent


def test_frames_that_nobody_speaks_of_are_unaccounted_for() -> None:
    frames = {"published": 100, "recorded": 90, "lost": 7, "bytes": 3_000_000}
    figures = summarise([np.full(10, 0.002)], [np.full(10, 0.001)], frames, 0.5)
    assert figures["frames_unaccounted"] == 3
    assert figures["mb_per_minute"] == pytest.approx(6)
    assert figures["p99_late_ratio"] == pytest.approx(2)
    assert figures["steps_each"] == 10
