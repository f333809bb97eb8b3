from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.clock import MS, SECOND, Clock, RealClock, SteppedClock, wall_time_ns

DURATIONS = st.integers(min_value=0, max_value=10**18)


@pytest.mark.parametrize("clock", [RealClock(), SteppedClock()])
def test_both_are_clocks(clock: Clock) -> None:
    assert isinstance(clock, Clock)


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


def test_wall_time_is_the_date() -> None:
    assert abs(wall_time_ns() - time.time_ns()) < 10 * SECOND
