"""Time: one real clock, one that only moves when it is told to, and one that follows that from another process.

Everything that compares times takes a `Clock`, so that the same code runs at the pace of the wall and in lockstep with
a simulator. Stamps are int64 nanoseconds of a monotonic clock; the wall's date is for people and is never compared.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol, runtime_checkable

from robot_rl.errors import DeadlineMissed

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


class SimulatedClock:
    """Of a simulation, which waits for whoever is late: nothing is missed by it while somebody thinks (lockstep)."""


class SteppedClock(SimulatedClock):
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


class FollowedClock(SimulatedClock):
    """A `SteppedClock` of another process, as it is told of here: sleeping waits until that one has come so far."""

    def __init__(self, source: str, patience_s: float = 10.0) -> None:
        """`source` is where the time comes from, for the error; it is told again at least every `patience_s`."""
        self._source, self._patience_s = source, patience_s
        self._now = 0
        self._told = threading.Condition()

    def now_ns(self) -> int:
        return self._now

    def tell(self, stamp_ns: int) -> None:
        """The time is `stamp_ns` there; from any thread. What was overtaken on its way here is no news."""
        with self._told:
            self._now = max(self._now, stamp_ns)
            self._told.notify_all()

    def sleep_until(self, stamp_ns: int) -> None:
        """Raises `DeadlineMissed` when it is not told of that time within `patience_s` on the wall."""
        with self._told:
            if not self._told.wait_for(lambda: self._now >= stamp_ns, self._patience_s):
                raise DeadlineMissed(
                    f"{self._source}: expected the simulated time {stamp_ns / SECOND:.3f} s within "
                    f"{self._patience_s:g} s, it says {self._now / SECOND:.3f} s; does it reach this process, and does "
                    "one robot alone publish it?"
                )


def wall_time_ns() -> int:
    """The date, for people and for file names; never compared with a stamp."""
    return time.time_ns()
