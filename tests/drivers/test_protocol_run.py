"""A whole run with the protocol twin behind the guard: what `robot-rl run --hw protocol_twin` composes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from robot_rl.compositions.plan import new_run
from robot_rl.safety.latch import read_latch
from robot_rl.store.episode import read_messages
from tests.realtime_run import alive, labels, short_task, started, wait_for

pytest.importorskip("franky", reason="the Franka client is not installed: pip install 'robot-rl[franka]'")


def simulations() -> list[int]:
    """Process ids of the simulations that run."""
    folders = Path("/proc").glob("[0-9]*")
    return [int(folder.name) for folder in folders if "sim_twin.protocol.process" in command_line(folder)]


def command_line(folder: Path) -> list[str]:
    try:
        return (folder / "cmdline").read_text().split("\0")
    except (OSError, UnicodeDecodeError):
        return []


@pytest.mark.timeout(60)
def test_a_run_on_the_protocol_twin_finishes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", str(short_task(tmp_path)), "usr", 0, {"hw": "protocol_twin"})
    before = set(simulations())
    with started(run, 1) as realtime:
        wait_for(realtime.begun, "the first episode")
        mine = set(simulations()) - before
        status, output = realtime.finish(50)
        assert status == 0, output
    assert mine
    assert not [pid for pid in mine if alive(pid)]
    assert len(labels(run)) == 1
    steps = [step.body for step in read_messages(run.episode(1), "/steps")]
    assert sum(step["verdict"] == "pass" for step in steps) > 10
    assert np.ptp([step["tcp_pose"][:3] for step in steps], axis=0).max() > 0.01  # m: it moved


@pytest.mark.timeout(60)
def test_a_robot_that_vanishes_in_an_episode_is_a_latched_fault_that_nobody_clears(tmp_path: Path) -> None:
    run, _ = new_run(tmp_path / "run", str(short_task(tmp_path)), "usr", 0, {"hw": "protocol_twin"})
    before = set(simulations())
    with started(run, 5) as realtime:
        wait_for(realtime.begun, "the first episode")
        time.sleep(0.6)  # s: an episode takes 1.5, and is to be under way
        for pid in set(simulations()) - before:
            os.kill(pid, signal.SIGKILL)
        status, output = realtime.finish(50)  # without a page nobody can clear it: the run ends and says so
    assert status != 0
    assert "robot_fault" in output
    latched = read_latch(run.guard_json)
    assert [cause.kind for cause in latched.causes] == ["robot_fault"]
    assert "RobotLost" in latched.causes[0].detail
