"""The store's benchmark: that it runs from end to end, and that what is derived is what makes the second time short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.store import CHUNKS, QUICK_EPISODES, forget
from robot_rl.store.run import RunDirectory

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(180)
def test_it_runs_from_end_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.store", "--quick", "--store", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures["episodes"] == figures["pooled_episodes"] == QUICK_EPISODES
    assert figures["chunks"] == QUICK_EPISODES * CHUNKS
    for what in ("replay_transitions_seconds", "pooled_rows_seconds"):
        assert 0 < figures[f"{what}_again"] < figures[f"{what}_first"]
    assert figures["runs_command_seconds_again"] > 0
    assert figures["pooled_bytes_per_transition"] > figures["replay_bytes_per_transition"] >= 0
    run = RunDirectory.open(tmp_path / "run")
    derived = [*run.path.glob(".*.memory"), *run.episodes.glob("*/transitions.packed"), *run.episodes.glob("*/.pool.*")]
    assert len(derived) == 2 + 2 * QUICK_EPISODES
    forget(run)
    assert not any(path.exists() for path in derived)
