from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.clock import (
    MS,
    SECOND,
    Clock,
    FollowedClock,
    RealClock,
    SimulatedClock,
    SteppedClock,
    wall_time_ns,
)
from robot_rl.errors import DeadlineMissed

DURATIONS = st.integers(min_value=0, max_value=10**18)


@pytest.mark.parametrize("clock", [RealClock(), SteppedClock(), FollowedClock("/clock")])
def test_all_are_clocks_and_one_is_not_simulated(clock: Clock) -> None:
    assert isinstance(clock, Clock)
    assert isinstance(clock, SimulatedClock) != isinstance(clock, RealClock)


def test_the_real_clock_is_the_hosts_monotonic_one() -> None:
    before = time.monotonic_ns()
    now = RealClock().now_ns()
    assert before <= now <= time.monotonic_ns()


def test_the_real_clock_sleeps_until_the_stamp() -> None:
    clock = RealClock()
    until = clock.now_ns() + 20 * MS
    clock.sleep_until(until)
    assert until <= clock.now_ns() < until + SECOND


def test_the_real_clock_does_not_sleep_for_what_is_past() -> None:
    clock = RealClock()
    start = clock.now_ns()
    clock.sleep_until(start - SECOND)
    assert clock.now_ns() - start < SECOND // 2


@given(st.lists(DURATIONS))
def test_the_stepped_clock_moves_by_what_it_is_told(durations: list[int]) -> None:
    clock = SteppedClock(start_ns=7)
    for duration in durations:
        clock.advance(duration)
    assert clock.now_ns() == 7 + sum(durations)


@given(st.lists(DURATIONS))
def test_sleeping_moves_the_stepped_clock_and_never_back(stamps: list[int]) -> None:
    clock = SteppedClock()
    for stamp in stamps:
        clock.sleep_until(stamp)
    assert clock.now_ns() == max([0, *stamps])


def test_the_stepped_clock_stands_still_by_itself() -> None:
    clock = SteppedClock(5)
    time.sleep(0.002)
    assert clock.now_ns() == 5


def test_time_never_runs_back() -> None:
    clock = SteppedClock(5)
    with pytest.raises(ValueError, match="expected >= 0 ns, got -1"):
        clock.advance(-1)
    assert clock.now_ns() == 5


@given(st.lists(DURATIONS))
def test_the_followed_clock_is_where_it_was_told_and_never_runs_back(stamps: list[int]) -> None:
    clock = FollowedClock("/clock")
    for stamp in stamps:
        clock.tell(stamp)
    assert clock.now_ns() == max([0, *stamps])
    clock.sleep_until(clock.now_ns())  # what has come is not waited for


def test_the_followed_clock_waits_until_it_is_told() -> None:
    clock = FollowedClock("/clock")
    telling = [threading.Timer(0.05 * n, clock.tell, [n * SECOND]) for n in (1, 2, 3)]
    for timer in telling:
        timer.start()
    clock.sleep_until(2 * SECOND)
    assert clock.now_ns() >= 2 * SECOND
    for timer in telling:
        timer.join()


def test_a_followed_clock_that_nobody_tells_the_time_says_from_where_it_expected_it() -> None:
    clock = FollowedClock("/cell_1/clock", patience_s=0.05)
    clock.tell(SECOND)
    with pytest.raises(DeadlineMissed, match=r"^/cell_1/clock: expected the simulated time 1\.050 s .* says 1\.000 s"):
        clock.sleep_until(SECOND + 50 * MS)


def test_wall_time_is_the_date() -> None:
    assert abs(wall_time_ns() - time.time_ns()) < 10 * SECOND
