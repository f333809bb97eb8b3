"""One thread that has the model, and a queue before it: what several clients ask at about the same time is one call.

While a call runs the next requests gather. A request that finds the model idle waits at most `wait_s` for company, and
not at all if every client that has asked within the last second is in already: a lone robot never waits. A request
whose deadline has passed when its turn comes is refused, not computed; one that was cancelled is dropped.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from robot_rl.errors import DeadlineMissed, WireError
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
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: dict[tuple[bytes, int], Job] = {}
        """What is in the queue and was not cancelled, by peer and request id."""
        self._held: Job | None = None
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
        """Queue `job`. Raises `DeadlineMissed` when too much waits already, `WireError` for a taken id.

        `put` and `cancel` are called from one thread.
        """
        if (job.peer, job.request) in self._waiting:
            raise WireError(f"request {job.request} waits already: expected another id for each")
        theirs = sum(peer == job.peer for peer, _ in tuple(self._waiting))
        if self._ending or len(self._waiting) >= self._batching.queue or theirs >= self._batching.per_client:
            self.counts["busy"] += 1
            raise DeadlineMissed("refused: the server is shutting down or has too much to do already")
        self._waiting[job.peer, job.request] = job
        self._seen[job.peer] = job.came
        self._queue.put(job)
        return job.later

    def cancel(self, peer: bytes, request: int) -> bool:
        """Whether a request still waited, and now does not. It gets no answer."""
        cancelled = self._waiting.pop((peer, request), None) is not None
        self.counts["cancelled"] += cancelled
        return cancelled

    def end(self, grace_s: float) -> bool:
        """Refuse what waits, let the call that runs be answered; whether that ended within `grace_s`."""
        self._ending = True
        for key in tuple(self._waiting):
            if (job := self._waiting.pop(key, None)) is not None:
                self._refuse(job, "the server is shutting down")
        self._queue.put(None)
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
                try:
                    self._compute(timely)
                except Exception:  # whatever it was: the next call is made
                    log.exception("a call of %d requests failed; they get no answer", len(timely))

    def _gather(self) -> list[Job]:
        """The requests of the next call; none when all is over."""
        jobs: list[Job] = []
        rows, until = 0, float("inf")
        while True:
            job = self._held or self._next(until if jobs and not self._all_in(jobs) else None, wait=not jobs)
            self._held = None
            if job is None:
                return jobs
            if jobs and rows + job.asked.rows > self._batching.rows:
                self._held = job  # it opens the next call
                return jobs
            jobs.append(job)
            rows += job.asked.rows
            until = jobs[0].came + self._batching.wait_s

    def _next(self, until: float | None, *, wait: bool) -> Job | None:
        """The next request that was not cancelled: `wait` for it, or until a time, or take what is there; or None."""
        while True:
            try:
                left = None if wait else max(0.0, (until or 0.0) - time.monotonic())
                job = self._queue.get(timeout=left) if left != 0.0 else self._queue.get_nowait()
            except queue.Empty:
                return None
            if job is None:
                return None
            if self._waiting.pop((job.peer, job.request), None) is not None:
                return job

    def _all_in(self, jobs: Sequence[Job]) -> bool:
        """Whether everyone who might ask has asked."""
        recent = time.monotonic() - RECENT_S
        for peer in [peer for peer, seen in tuple(self._seen.items()) if seen < recent]:
            self._seen.pop(peer, None)
        return self._seen.keys() <= {job.peer for job in jobs}

    def _refuse(self, job: Job, why: str) -> None:
        def refuse() -> Reply:
            raise DeadlineMissed(f"refused, not computed: {why}")

        self._answer(job.later, refuse)
