"""Twenty kills of a real-time run, as `python -m benchmarks.kill_loop` does two hundred."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kill_loop import MOST_LOST_S, TURNS

ROOT = Path(__file__).parents[2]
KILLS = 20


@pytest.mark.timeout(600)  # 92 s on two free cores
def test_twenty_kills_lose_no_label_no_closed_episode_and_a_second_of_the_open_one_at_most() -> None:
    command = [sys.executable, "-m", "benchmarks.kill_loop", "--kills", str(KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=590, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(found)
    assert found["kills"] == dict.fromkeys(TURNS, KILLS // len(TURNS))
    assert (found["lost"]["labels"], found["lost"]["episodes"]) == (0, 0)
    assert found["lost"]["open_s"] <= MOST_LOST_S
    assert found["labels"] > 0
    assert found["set_aside"] > 0
