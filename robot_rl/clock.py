"""Time: one real clock, and one that only moves when it is told to.

Everything that compares times takes a `Clock`, so that the same code runs at the pace of the wall and in lockstep with
a simulator. Stamps are int64 nanoseconds of a monotonic clock; the wall's date is for people and is never compared.
"""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

MS = 1_000_000
"""Nanoseconds in a millisecond."""
SECOND = 1_000_000_000
"""Nanoseconds in a second."""


@runtime_checkable
class Clock(Protocol):
    """What may be asked of time."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def sleep_until(self, stamp_ns: int) -> None:
        """Return when `now_ns() >= stamp_ns`."""
        ...


class RealClock:
    """The machine's monotonic clock; on Linux the same one in every process of the host."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, stamp_ns: int) -> None:
        remaining = stamp_ns - time.monotonic_ns()
        if remaining > 0:
            time.sleep(remaining / SECOND)


class SteppedClock:
    """A clock that a simulator advances; sleeping advances it at once."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns

    def now_ns(self) -> int:
        return self._now

    def advance(self, duration_ns: int) -> None:
        """Move forward by `duration_ns` >= 0; time never runs back."""
        if duration_ns < 0:
            raise ValueError(f"a clock only advances: expected >= 0 ns, got {duration_ns}")
        self._now += duration_ns

    def sleep_until(self, stamp_ns: int) -> None:
        self._now = max(self._now, stamp_ns)


def wall_time_ns() -> int:
    """The date, for people and for file names; never compared with a stamp."""
    return time.time_ns()
