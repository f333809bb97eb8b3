"""One thread that has the model, and a queue before it: what several clients ask at about the same time is one call.

While a call runs the next requests gather. A request that finds the model idle waits at most `wait_s` for company, and
not at all if every client that has asked within the last second is in already: a lone robot never waits. A request
whose deadline has passed when its turn comes is refused, not computed; one that was cancelled is dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from robot_rl.errors import DeadlineMissed
from robot_rl.serve.requests import Asked
from robot_rl.wire.rpc import Later, Reply

log = logging.getLogger(__name__)

RECENT_S = 1.0
"""A client that asked within this time is one that may ask again any moment."""


@dataclass(frozen=True)
class Batching:
    """How requests are gathered."""

    wait_s: float = 0.003
    """A request waits for others no longer than this."""
    rows: int = 64
    """A call has no more than these, unless one request has."""
    queue: int = 256
    """Requests that may wait; further ones are refused."""
    per_client: int = 16
    """Of these, from one client."""


@dataclass
class Job:
    """One request on its way through the model's thread."""

    peer: bytes
    request: int
    asked: Asked
    later: Later
    came: float = field(default_factory=time.monotonic)
    """On this machine's clock, s: the client's is never looked at."""

    @property
    def late_s(self) -> float:
        """By how much its deadline has passed; negative before."""
        return time.monotonic() - self.came - self.asked.remaining_s


Answer = Callable[[Later, Callable[[], Reply]], None]


class Batcher:
    """Calls `compute(jobs)`, which answers each of them, from one thread of its own; `counts` says what happened."""

    def __init__(self, compute: Callable[[Sequence[Job]], None], answer: Answer, batching: Batching) -> None:
        self.counts: Counter[str] = Counter(late=0, cancelled=0, busy=0, calls=0, batched=0)
        """Requests refused as late, dropped as cancelled, refused for a full queue; calls made, requests in them."""
        self._compute, self._answer, self._batching = compute, answer, batching
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._seen: dict[bytes, float] = {}
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self, first: Callable[[], None]) -> None:
        """Begin; `first` (the warm-up) is done before anything that is asked."""
        self._first = first
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether the thread runs; it ends by itself only if `first` fails."""
        return self._thread.is_alive()

    def put(self, job: Job) -> Later:
        """Queue `job`; any thread. Raises `DeadlineMissed` when too much waits already."""
        with self._changed:
            theirs = sum(waiting.peer == job.peer for waiting in self._waiting)
            if self._ending or len(self._waiting) >= self._batching.queue or theirs >= self._batching.per_client:
                self.counts["busy"] += 1
                raise DeadlineMissed("refused: the server is shutting down or has too much to do already")
            self._waiting.append(job)
            self._seen[job.peer] = job.came
            self._changed.notify()
        return job.later

    def cancel(self, peer: bytes, request: int) -> bool:
        """Whether a request still waited, and now does not; any thread. It gets no answer."""
        with self._changed:
            for job in self._waiting:
                if (job.peer, job.request) == (peer, request):
                    self._waiting.remove(job)
                    self.counts["cancelled"] += 1
                    return True
        return False

    def end(self, grace_s: float) -> bool:
        """Refuse what waits, let the call that runs be answered; whether that ended within `grace_s`."""
        with self._changed:
            self._ending = True
            dropped, self._waiting = list(self._waiting), deque()
            self._changed.notify()
        for job in dropped:
            self._refuse(job, "the server is shutting down")
        if self._thread.is_alive():
            self._thread.join(grace_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._first()
        except Exception:
            log.exception("the policy cannot be warmed up")
            return
        while jobs := self._gather():
            timely = []
            for job in jobs:
                if job.late_s > 0:
                    self.counts["late"] += 1
                    self._refuse(job, f"{1e3 * job.late_s:.0f} ms late when its turn came")
                else:
                    timely.append(job)
            if timely:
                self.counts["calls"] += 1
                self.counts["batched"] += len(timely)
                self._compute(timely)

    def _gather(self) -> list[Job]:
        """The requests of the next call; none when all is over."""
        with self._changed:
            while not self._ending:
                if not self._waiting:
                    self._changed.wait()
                    continue
                left = self._waiting[0].came + self._batching.wait_s - time.monotonic()
                if left <= 0 or self._complete():
                    break
                self._changed.wait(left)
            jobs: list[Job] = []
            while self._waiting and (not jobs or self._rows([*jobs, self._waiting[0]]) <= self._batching.rows):
                jobs.append(self._waiting.popleft())
            return jobs

    def _complete(self) -> bool:
        """Whether waiting could bring nobody else, or no more than fits."""
        recent = time.monotonic() - RECENT_S
        self._seen = {peer: seen for peer, seen in self._seen.items() if seen > recent}
        return self._rows(self._waiting) >= self._batching.rows or self._seen.keys() <= {j.peer for j in self._waiting}

    @staticmethod
    def _rows(jobs: Sequence[Job]) -> int:
        return sum(job.asked.rows for job in jobs)

    def _refuse(self, job: Job, why: str) -> None:
        def refuse() -> Reply:
            raise DeadlineMissed(f"refused, not computed: {why}")

        self._answer(job.later, refuse)
