"""STOP at real-time pace: the twin's motion ends within 100 ms, and the latch outlives its process."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from robot_rl.clock import SECOND
from robot_rl.services.guard import GuardClient
from robot_rl.types import SafetyLevel
from robot_rl.wire.rpc import RpcClient
from tests.realtime_run import short_run, started, state, tell, wait_for

STOPS = 20
MOVING = 0.15
"""rad/s of the fastest joint; while an episode runs it reaches 1."""
STILL = 0.02
"""rad/s: about 1 cm/s at the TCP."""
PERIOD_NS = SECOND // 20


def speed(guard: GuardClient) -> float:
    """rad/s of the fastest joint."""
    return float(np.abs(guard.observe().dq).max())


def stop_and_time(guard: GuardClient) -> float:
    """Seconds from STOP to the end of the first control period from which on the joints stay still.

    The twin simulates a period at its beginning: what it reports is true at the period's end.
    """
    began = time.monotonic_ns()
    guard.stop("test", "while it moves")
    still_since = 0
    while time.monotonic_ns() < began + 6 * PERIOD_NS:
        seen = guard.observe()
        if np.abs(seen.dq).max() > STILL:
            still_since = 0
        elif not still_since:
            still_since = seen.stamps_ns["robot"] + PERIOD_NS
        time.sleep(0.004)
    assert still_since, "it never came to rest"
    return max(0, still_since - began) / SECOND


def clear(guard: GuardClient, actor: RpcClient) -> None:
    """What a person does about it: clear each cause, then run."""
    for cause in guard.state().causes:
        tell(actor, "clear", cause_id=cause.id)
    wait_for(lambda: state(actor) == "PAUSED", "PAUSED")
    tell(actor, "run")


@pytest.mark.timeout(180)
def test_stop_ends_the_motion_within_100_ms_and_outlives_the_run(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    rng = np.random.default_rng(1)
    with started(run, 1000, "--page") as realtime:
        guard, actor = realtime.connect()
        seconds = []
        for _ in range(STOPS):
            wait_for(lambda: speed(guard) > MOVING, "motion")
            time.sleep(rng.uniform(0, 0.1))
            seconds.append(stop_and_time(guard))
            wait_for(lambda: state(actor) == "STOPPED", "STOPPED")
            clear(guard, actor)
        print(f"stop to standstill, ms: {np.sort(np.round(1000 * np.array(seconds))).astype(int).tolist()}")
        assert np.quantile(seconds, 0.99) < 0.1
        wait_for(lambda: speed(guard) > MOVING, "motion")
        latched = guard.stop("test", "for good").causes
        realtime.kill("actor")
        guard.close()
        actor.close()
        realtime.finish(10)
    with started(run, 1, "--page") as resumed:
        guard, actor = resumed.connect()
        assert state(actor) == "STOPPED"
        assert guard.state().level is SafetyLevel.STOP
        assert [cause.id for cause in guard.state().causes] == [cause.id for cause in latched]
        clear(guard, actor)
        guard.close()
        actor.close()
        status, output = resumed.finish(60)
    assert status == 0, output
    assert "for good" in output
    assert "It waits for a person" in output
