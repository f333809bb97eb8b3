"""An episode whose next chunk is inferred while the present one runs, and spliced into it.

The loop of `control.episode` observes, waits for the policy, and sends what it says; here it waits for nothing while
there are rows to send. Let o_n be the observation of chunk n and count control steps that were carried out, held ones
apart.

*Asking.* o_n+1 is taken, and chunk n+1 asked for, when `lead` rows of chunk n are left: the 95th percentile of the
round trips so far and a margin (`control.inference`), never more than half a chunk. Where the round trip is shorter
than the loop's patience at a seam, lead is 0 and this is the loop of `control.episode`. One request is under way at a
time. One that fails (late, the server gone, a picture too old) is asked anew with an observation of then; only when no
row is left does the robot hold, counted, and its reason recorded.

*Splicing.* Row j of chunk n+1 is meant for the j-th step after o_n+1. When it arrives, d steps have been carried out
since: its first d rows are skipped, it goes on with row d, and what is left of chunk n is dropped. The guard is asked
about the rows from d on; a chunk that it refuses is recorded and asked for anew while chunk n goes on, and counts among
the refusals in a row that end an episode. The seam is a step like any other to the safety filter: its change of
displacement is clipped to the limit per tick, or rejected. `/spliced` says of each such chunk how many steps and
milliseconds its decision was older than the loop's would have been, what was dropped, and how far apart the rows at the
seam were; `/overlap`, at the end, how many seams were clipped.

*What is learnt from it.* A transition spans the steps from o_n to o_n+1 (the last one: to the end), and says what was:

- `features`, `z`: of o_n, which is what the adapter saw; `noise`, `steer`, `base_chunk`: what was decided on it, whole.
- `executed_chunk` [T, A]: row j is what the robot was sent at the j-th step after o_n: d rows of chunk n-1, then chunk
  n's as they were sent, then, from where chunk n+1 took over, as planned. So Q(s, a) judges what was really done after
  s; which of the first rows were fixed already when the adapter decided does not matter to it.
- `k_executed`: the steps from o_n to o_n+1, of which the first d were not chunk n's. They add up to the episode's.
- `next_features`: of o_n+1. The rows of chunk n that were sent after o_n+1, before chunk n+1 took over, stand in both
  transitions: in this one after row k, in the next one at its beginning.
- A chunk that arrived but moved nothing (the episode ended first) has no transition: the one before it goes to the end.

What is not exact: o_n+1 does not say which d rows were still to come, and the value bootstrapped there is of a chunk
that begins at once. To a critic on executed chunks that is the delay that the robot really has, a few rows of T. A
critic that judges steers (DSRL-SAC, USR-SAC, Policy Decorator, ZPRL) sees the effect of a steer later by d steps: with
a round trip of half a chunk or more, it may learn better without overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from robot_rl.control.chunk_buffer import ChunkBuffer
from robot_rl.control.episode import PASSING, EpisodeRun, Seen
from robot_rl.control.inference import Flight, Inference, RoundTrips
from robot_rl.control.ports import PatientPolicy
from robot_rl.errors import RobotFault
from robot_rl.types import ActionChunk, Array, Verdict

WAITING = "holding, the policy has not answered yet"


@dataclass
class Leg:
    """A chunk from where it took over."""

    seen: Seen
    began: int
    """Control steps carried out before its observation."""
    buffer: ChunkBuffer
    """Its row d is due first: those before it are as the robot was sent them meanwhile."""
    skipped: int
    """d."""

    @property
    def left(self) -> int:
        """Rows that may still be sent."""
        return 0 if self.buffer.target is None else len(self.buffer.chunk.final) - self.buffer.k_executed

    @property
    def moved(self) -> bool:
        """Whether it sent a row of its own."""
        return self.buffer.k_executed > self.skipped


class OverlappedRun(EpisodeRun):
    """See the module; `policy` is a `PatientPolicy`, and the clock is the one on the wall."""

    def __init__(self, *args: Any, trips: RoundTrips, **kwargs: Any) -> None:
        """As `EpisodeRun`; `trips` are the run's, over all its episodes."""
        super().__init__(*args, **kwargs)
        self._trips = trips
        self._sent: list[Array] = []
        """[A] each, SI: what was carried out at each control step."""
        self._leg: Leg | None = None
        """The chunk that is due."""
        self._before: Leg | None = None
        """The one that moved the robot before it."""
        self._splices = self._clipped = 0

    @property
    def lead(self) -> int:
        """Rows that are left when the next chunk is asked for."""
        spec = self._policy.spec
        return self._trips.lead(spec.step_s, spec.horizon, self._patience_s)

    @property
    def _patience_s(self) -> float:
        """How long the loop may wait between two control steps (`control.asking`)."""
        return 0.5 / self._motion.port.spec.control_hz

    def _chunk_after_chunk(self) -> bool:
        assert isinstance(self._policy, PatientPolicy)  # whoever chose this run has seen to it
        asking = Inference(self._policy, self._adapter, self._rng, self._trips, explore=self._explore)
        flight: Flight | None = None
        with asking:
            while self._session.in_episode:
                if flight is None and self._left <= self.lead:
                    flight = self._ask(asking)
                if flight is not None and flight.ready(0.0 if self._left else self._patience_s):
                    in_time = self._arrived(flight)
                    flight = self._ask(asking) if in_time and self._left <= self.lead else None
                if self._leg is not None and self._leg.left:
                    self._send_next(self._leg)
                elif flight is not None:
                    self._hold(WAITING)
        return self._close()

    @property
    def _left(self) -> int:
        return 0 if self._leg is None else self._leg.left

    def _ask(self, asking: Inference) -> Flight | None:
        try:
            return asking.begin(self._motion.port.observe(), self.steps, self._previous)
        except RobotFault:  # latched by the guard: the session hears of it now, and the episode is over
            self._motion.tend()
            return None

    def _arrived(self, flight: Flight) -> bool:
        """Let the chunk take over, unless there is none or the guard refuses it; hold if nothing else is due.

        False: it did not. A row is sent, or a period held, before the next is asked for.
        """
        try:
            inferred = flight.result()
        except PASSING as error:
            return self._do_without(f"the policy gives no chunk: {error}")
        chunk, skipped = self._chunk(flight.observation, inferred.steering, inferred.base), self.steps - flight.step
        if skipped >= len(chunk.final):
            return self._do_without("the policy's chunk came when all of it was over")
        if refusal := self._motion.port.check(chunk.final[skipped:]):
            self._reject(chunk, refusal)
            self._verdicts[Verdict.REJECTED] += 1
            self._motion.totals[Verdict.REJECTED] += 1
            return self._do_without(f"a chunk was rejected: {refusal}")
        if skipped:
            self._note_splice(chunk, skipped, flight)
        buffer = ChunkBuffer(chunk)
        for row in self._sent[flight.step :]:
            buffer.sent(row)
        if self._leg is not None and self._leg.moved:
            self._before = self._leg
        self._previous = inferred.steering
        self._leg = Leg(Seen(flight.observation, inferred.context), flight.step, buffer, skipped)
        return True

    def _do_without(self, why: str) -> Literal[False]:
        """There is no new chunk: another one is asked for, while what is left of the present one is sent."""
        if self._left:
            self._write("/missed", {"why": why})
        else:
            self._hold(f"holding, {why}")
        return False

    def _note_splice(self, chunk: ActionChunk, skipped: int, flight: Flight) -> None:
        seam = np.asarray(chunk.final[skipped] - self._sent[-1], np.float64)
        self._splices += 1
        self._write(
            "/spliced",
            {
                "chunk": chunk.id,
                "seq": flight.observation.seq,
                "skipped": skipped,
                "age_ms": flight.age_ms,
                "dropped": self._left,
                "seam": seam.tolist(),
            },
        )

    def _send_next(self, leg: Leg) -> None:
        """One control period: the row that is due, or rest while the session is paused."""
        target = leg.buffer.target
        assert target is not None  # there are rows left
        if self._session.paused:
            self._motion.rest()
            self._note_safety()
            return
        result = self._motion.step(target, leg.buffer.chunk.id, leg.buffer.k_executed)
        self._verdicts[result.verdict] += 1
        self._write_step(result)
        if result.verdict is Verdict.REJECTED:
            leg.buffer.cut(result.sent)
            self._reject(leg.buffer.chunk, result.reason)
            return
        if result.verdict is Verdict.HELD:
            return
        if not leg.moved:
            self._clipped += bool(leg.skipped) and result.verdict is Verdict.CLIPPED
            self._span(leg.seen, leg.began)
        leg.buffer.sent(result.sent)
        self._sent.append(result.sent)
        self._held_for = ""
        self._rejected = 0
        self.steps += 1
        self._session.explain(f"adapter version {self._adapter.version}")
        if self.steps >= self._max_steps:
            self._session.end_episode("timeout", f"time limit of {self._max_steps} steps")

    def _span(self, after: Seen, until: int) -> None:
        """The transition of the leg before, from its observation to that of `after`, is due."""
        if self._before is not None:
            self._write_due()
            whole = self._transition(self._before.buffer, self._before.seen.context, after.context)
            self._due = replace(whole, k_executed=until - self._before.began)
            self._before = None

    def _close(self) -> bool:
        """The last transition, up to what is seen now. Whether there is one for every chunk that moved the robot."""
        after = self._look()
        if self._leg is not None and self._leg.moved:
            self._before = self._leg
        moved = self._before is not None
        if after is not None:
            self._span(after, self.steps)
        if self._splices:
            p95_ms = 1000 * self._trips.p95_s
            counts = {"splices": self._splices, "clipped": self._clipped}
            self._write("/overlap", {**counts, "round_trip_p95_ms": p95_ms, "lead": self.lead})
        return after is not None or not moved
