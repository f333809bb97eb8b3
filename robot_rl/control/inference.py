"""The calls of one chunk to a policy elsewhere, beside the control loop: encode, steer, decode.

A control step takes its whole period, and a chunk takes two journeys with the adapter's decision between them. Were the
loop to look after them between two steps, each answer would wait for the step's end; so a thread does. It runs while a
call is under way and touches policy, adapter and random numbers then; the loop leaves them alone meanwhile.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from robot_rl.control.ports import Answer, PatientPolicy
from robot_rl.errors import DeadlineMissed
from robot_rl.protocols import Adapter
from robot_rl.types import Array, Context, Observation, Steering

T = TypeVar("T")

LOOK_S = 0.02
"""Between two looks at whether the loop still wants the answer."""
REMEMBERED = 64
"""Round trips whose durations are remembered."""
SHARE = 0.95
"""Of the round trips that are to be back in time."""
MARGIN_S = 0.01
"""What a round trip may take longer, and what the loop needs to take the answer up."""


@dataclass(frozen=True)
class Inferred:
    """What the policy made of an observation, and the adapter of that."""

    context: Context
    """Of batch 1."""
    steering: Steering
    base: Array
    """[T, A] SI float32, decoded."""


class RoundTrips:
    """How long the chunks of a run took from observation to answer."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, seconds: float) -> None:
        """One that was answered; what was not says nothing of how long an answer takes."""
        self._seconds.append(seconds)

    @property
    def p95_s(self) -> float:
        """0 before the first."""
        return self._percentile(SHARE)

    @property
    def shown(self) -> dict[str, float] | None:
        """For the page: of how many, their median and 95th percentile in ms; None before the first."""
        trips = len(self._seconds)
        if not trips:
            return None
        return {"trips": trips, "p50_ms": 1000 * self._percentile(0.5), "p95_ms": 1000 * self.p95_s}

    def _percentile(self, share: float) -> float:
        ordered = sorted(self._seconds)
        return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0

    def lead(self, step_s: float, horizon: int, patience_s: float) -> int:
        """Control steps before the end of a chunk at which the next one is asked for, so that it is there in time.

        0 where the loop can as well wait: within `patience_s` the robot does not notice. Half a chunk at most: what is
        decided on an older picture than that is not worth having earlier.
        """
        if self.p95_s + MARGIN_S <= patience_s:
            return 0
        return min(math.ceil((self.p95_s + MARGIN_S) / step_s), horizon // 2)


class Inference:
    """Asks `policy` for one chunk at a time; a context manager, whose end gives up what is under way."""

    def __init__(
        self, policy: PatientPolicy, adapter: Adapter, rng: np.random.Generator, trips: RoundTrips, *, explore: bool
    ) -> None:
        self._policy, self._adapter, self._rng, self._explore = policy, adapter, rng, explore
        self._trips = trips
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._flight: Flight | None = None

    def __enter__(self) -> Inference:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._flight is not None:
            self._flight.cancel()
        self._pool.shutdown()

    def begin(self, observation: Observation, step: int, previous: Steering | None) -> Flight:
        """Ask for the chunk of `observation`, before which `step` control steps had been carried out.

        `previous`: as `Adapter.steer` has it.
        """
        cancelled = threading.Event()
        inferred = self._pool.submit(self._infer, observation, previous, cancelled)
        self._flight = Flight(inferred, observation, step, time.monotonic(), cancelled)
        return self._flight

    def _infer(self, observation: Observation, previous: Steering | None, cancelled: threading.Event) -> Inferred:
        began = time.monotonic()
        context = _awaited(self._policy.begin_encode([observation]), cancelled)
        steering = self._adapter.steer(context, self._rng, explore=self._explore, previous=previous)
        latent = None if steering.latent is None else steering.latent[None]
        base = _awaited(self._policy.begin_decode(context, steering.noise[None], latent), cancelled)[0]
        self._trips.add(time.monotonic() - began)
        return Inferred(context, steering, base)


class Flight:
    """A chunk that is asked for."""

    def __init__(
        self, future: Future[Inferred], observation: Observation, step: int, began_s: float, cancelled: threading.Event
    ) -> None:
        self.observation, self.step, self.began_s = observation, step, began_s
        self._future, self._cancelled = future, cancelled

    @property
    def age_ms(self) -> float:
        """Since its observation."""
        return 1000 * (time.monotonic() - self.began_s)

    def ready(self, wait_s: float = 0.0) -> bool:
        """Whether `result` has something to say; waits no longer than `wait_s`."""
        return bool(wait_for([self._future], wait_s).done)

    def result(self) -> Inferred:
        """The chunk. Raises what the policy raises."""
        return self._future.result()

    def cancel(self) -> None:
        """Nobody wants to know any more; returns when the policy may be asked something else."""
        self._cancelled.set()
        wait_for([self._future])


def _awaited(answer: Answer[T], cancelled: threading.Event) -> T:
    while not answer.ready(LOOK_S):
        if cancelled.is_set():
            answer.cancel()
            raise DeadlineMissed("given up")
    return answer.result()
