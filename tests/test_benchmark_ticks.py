"""The tick benchmark: its arithmetic on made-up blocks, and that it runs with a learner that learns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.timeout(120)
def test_it_runs_from_end_to_end() -> None:
    command = [sys.executable, "-m", "benchmarks.ticks", "--minutes", "0.03"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures["learner_updates"] > 0
    assert figures["ticks_each"] == 54
    assert figures["learner_cpu_share"] > 0
