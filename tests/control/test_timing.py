"""A chunk's time is that of encode and decode, whoever waits for them; what came to nothing is not counted."""

from __future__ import annotations

import time

import numpy as np
import pytest

from robot_rl.clock import SteppedClock
from robot_rl.control.inference import RoundTrips
from robot_rl.control.ports import PatientPolicy
from robot_rl.control.timing import timed
from robot_rl.errors import DeadlineMissed
from robot_rl.testing.point_robot import PointRobot
from tests.control.cell import HOME, HORIZON, PointPolicy
from tests.control.test_overlap import TimedPolicy

NOISE = np.zeros((1, HORIZON, 4), np.float32)
SEEN = [PointRobot(SteppedClock(), HOME).observe()]


def test_encode_and_decode_are_one_chunk() -> None:
    trips = RoundTrips()
    policy = timed(PointPolicy(lambda call: time.sleep({"encode": 0.02, "decode": 0.01}[call])), trips)
    assert trips.shown is None
    context = policy.encode(SEEN)
    time.sleep(0.05)  # what the loop does in between is not the policy's
    policy.decode(context, NOISE)
    assert trips.shown is not None
    assert trips.shown["trips"] == 1
    assert 30 <= trips.shown["p50_ms"] < 60


def test_a_call_that_fails_is_not_counted() -> None:
    def late(call: str) -> None:
        raise DeadlineMissed("late")

    trips = RoundTrips()
    with pytest.raises(DeadlineMissed):
        timed(PointPolicy(late), trips).encode(SEEN)
    assert trips.shown is None


def test_a_patient_policy_stays_one_and_is_timed_until_its_answer_is_seen() -> None:
    trips = RoundTrips()
    server = TimedPolicy([1])
    policy = timed(server, trips)
    assert isinstance(policy, PatientPolicy)
    encoding = policy.begin_encode(SEEN)
    assert not encoding.ready()
    time.sleep(0.03)
    server.pass_period()
    assert encoding.ready()
    decoding = policy.begin_decode(encoding.result(), NOISE)
    assert decoding.ready()
    assert decoding.result().shape == (1, HORIZON, 4)
    assert trips.shown is not None
    assert 30 <= trips.shown["p50_ms"] < 200


def test_an_answer_that_was_given_up_is_not_counted() -> None:
    trips = RoundTrips()
    answer = timed(TimedPolicy([1]), trips).begin_decode(None, NOISE)  # type: ignore[attr-defined]
    answer.cancel()
    assert trips.shown is None


def test_the_median_is_shown_beside_the_slow_ones() -> None:
    trips = RoundTrips()
    for milliseconds in range(1, 101):
        trips.add(milliseconds / 1000)
    assert trips.shown == pytest.approx({"trips": 64, "p50_ms": 68, "p95_ms": 97})
