"""The queue before the model: what several clients ask at about the same time is one call.

While a call runs the next requests gather. Then they wait for company, since who misses a call waits for the whole of
it: until nobody has come for `wait_s`, or a share of what a call takes, and twice as long at most. Those that the call
has just answered are about to ask again, so the wait begins when it ends: else who missed one call would be alone in
the next, and two groups would take turns for ever. Nobody waits once every client that has asked lately is in: a lone
robot never does. A request whose deadline has passed when its turn comes is refused, not computed; one that was
cancelled is dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from robot_rl.errors import DeadlineMissed, WireError
from robot_rl.serve.requests import Asked
from robot_rl.wire.rpc import Later, Reply

LONGEST_WAIT_S = 0.05
"""However long the last call took: it may have been a compiler's."""
RECENT_CALLS, RECENT_S = 4.0, (0.1, 1.0)
"""A client that asked within the time of so many calls, and within these bounds, may ask again any moment. A robot that
asks once a chunk is not waited for: it comes when it comes."""

Answer = Callable[[Later, Callable[[], Reply]], None]


@dataclass(frozen=True)
class Batching:
    """How requests are gathered."""

    wait_s: float = 0.003
    """The next call begins when nobody has come for so long, or"""
    wait_share: float = 0.4
    """for this share of what the last call took, whichever is longer. Who misses a call waits for all of it: with half
    of this, eight clients on a busy machine missed one call in twenty, and their slowest answers took half as long
    again."""
    rows: int = 64
    """A call has no more than these, unless one request has."""
    queue: int = 256
    """Requests that may wait; further ones are refused."""
    per_client: int = 16
    """Of these, from one client."""


@dataclass
class Job:
    """One request on its way through the model."""

    peer: bytes
    request: int
    asked: Asked
    later: Later
    came: float = field(default_factory=time.monotonic)
    """On this machine's clock, s: the client's is never looked at."""
    rows: int = field(init=False)
    """As `asked` has them."""

    def __post_init__(self) -> None:
        self.rows = self.asked.rows

    @property
    def late_s(self) -> float:
        """By how much its deadline has passed; negative before."""
        return time.monotonic() - self.came - self.asked.remaining_s


class Batcher:
    """The requests that wait, in the order in which they came. Its owner sees to it that one thread at a time is in it.

    Raises nothing at its owner but what `put` says.
    """

    def __init__(self, answer: Answer, batching: Batching) -> None:
        self.counts: Counter[str] = Counter(late=0, cancelled=0, busy=0, calls=0, batched=0)
        """Requests refused as late, dropped as cancelled, refused for a full queue; calls made, requests in them."""
        self._answer, self._batching = answer, batching
        self._waiting: dict[tuple[bytes, int], Job] = {}
        self._rows = 0
        self._ended = 0.0
        """When the last call did."""
        self._seen: dict[bytes, float] = {}

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def put(self, job: Job) -> Later:
        """Queue `job`. Raises `DeadlineMissed` when too much waits already, `WireError` for a taken id."""
        if (job.peer, job.request) in self._waiting:
            raise WireError(f"request {job.request} waits already: expected another id for each")
        theirs = sum(peer == job.peer for peer, _ in self._waiting)
        if len(self._waiting) >= self._batching.queue or theirs >= self._batching.per_client:
            self.counts["busy"] += 1
            raise DeadlineMissed("refused, not computed: the server has too much to do already")
        self._waiting[job.peer, job.request] = job
        self._rows += job.rows
        self._seen[job.peer] = job.came
        return job.later

    def cancel(self, peer: bytes, request: int) -> bool:
        """Whether a request still waited, and now does not. It gets no answer."""
        job = self._waiting.pop((peer, request), None)
        if job is not None:
            self._rows -= job.rows
            self.counts["cancelled"] += 1
        return job is not None

    def due_s(self, call_s: float) -> float | None:
        """How long the next call, which takes about `call_s`, may still wait for company; None: nothing waits."""
        if not self._waiting:
            return None
        if self._rows >= self._batching.rows or self._all_in(call_s):
            return 0.0
        first, newest = next(iter(self._waiting.values())), next(reversed(self._waiting.values()))
        wait_s = max(self._batching.wait_s, min(self._batching.wait_share * call_s, LONGEST_WAIT_S))
        quiet, patience = max(newest.came, self._ended) + wait_s, max(first.came, self._ended) + 2 * wait_s
        return max(0.0, min(quiet, patience) - time.monotonic())

    def ended(self) -> None:
        """The call of what was taken is over."""
        self._ended = time.monotonic()

    def take(self) -> list[Job]:
        """The requests of the next call; those that are late are refused on the way."""
        jobs: list[Job] = []
        rows = 0
        for key, job in tuple(self._waiting.items()):
            if jobs and rows + job.rows > self._batching.rows:
                break
            del self._waiting[key]
            self._rows -= job.rows
            if (late_s := job.late_s) > 0:
                self.counts["late"] += 1
                self._refuse(job, f"{1e3 * late_s:.0f} ms late when its turn came")
            else:
                jobs.append(job)
                rows += job.rows
        self.counts["calls"] += bool(jobs)
        self.counts["batched"] += len(jobs)
        return jobs

    def refuse_all(self, why: str) -> None:
        """Nothing waits any more."""
        for job in self._waiting.values():
            self._refuse(job, why)
        self._waiting, self._rows = {}, 0

    def _all_in(self, call_s: float) -> bool:
        """Whether everyone who might ask has asked."""
        there = {peer for peer, _ in self._waiting}
        if len(there) < len(self._seen):
            recent = time.monotonic() - min(max(RECENT_CALLS * call_s, RECENT_S[0]), RECENT_S[1])
            self._seen = {peer: seen for peer, seen in self._seen.items() if seen > recent}
        return self._seen.keys() <= there

    def _refuse(self, job: Job, why: str) -> None:
        def refuse() -> Reply:
            raise DeadlineMissed(f"refused, not computed: {why}")

        self._answer(job.later, refuse)
