"""How long a policy takes for a chunk, from the observation to the answer: measured at the policy's own two calls.

Wall time, whatever the pace. The adapter's decision between the two calls is not in it, nor what the loop did then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from robot_rl.control.inference import RoundTrips
from robot_rl.control.ports import Answer, PatientPolicy
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Context, Observation, PolicySpec

T = TypeVar("T")


class TimedPolicy:
    """`policy`, each of whose chunks is added to `trips`; one that is refused or given up is not."""

    def __init__(self, policy: FrozenPolicy, trips: RoundTrips) -> None:
        self._policy, self._trips = policy, trips
        self._encode_s = 0.0

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def encode(self, observations: Sequence[Observation]) -> Context:
        began = time.monotonic()
        context = self._policy.encode(observations)
        self._encode_s = time.monotonic() - began
        return context

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        began = time.monotonic()
        chunks = self._policy.decode(context, noise, latent)
        self._trips.add(self._encode_s + time.monotonic() - began)
        return chunks


class TimedPatientPolicy(TimedPolicy):
    """The same of a policy that can be asked without waiting."""

    _policy: PatientPolicy

    def begin_encode(self, observations: Sequence[Observation]) -> Answer[Context]:
        return _TimedAnswer(self._policy.begin_encode(observations), self._encoded)

    def begin_decode(self, context: Context, noise: Array, latent: Array | None = None) -> Answer[Array]:
        return _TimedAnswer(self._policy.begin_decode(context, noise, latent), self._decoded)

    def _encoded(self, seconds: float) -> None:
        self._encode_s = seconds

    def _decoded(self, seconds: float) -> None:
        self._trips.add(self._encode_s + seconds)


class _TimedAnswer(Generic[T]):
    """Told is how long it took until somebody saw that the answer is there."""

    def __init__(self, answer: Answer[T], tell: Callable[[float], None]) -> None:
        self._answer, self._tell = answer, tell
        self._began = time.monotonic()
        self._seconds: float | None = None

    def ready(self, wait_s: float = 0.0) -> bool:
        ready = self._answer.ready(wait_s)
        if ready and self._seconds is None:
            self._seconds = time.monotonic() - self._began
        return ready

    def result(self) -> T:
        result = self._answer.result()
        if self._seconds is not None:
            self._tell(self._seconds)
            self._seconds = None
        return result

    def cancel(self) -> None:
        self._answer.cancel()


def timed(policy: FrozenPolicy, trips: RoundTrips) -> FrozenPolicy:
    """`policy` with a watch at its calls; patient if it is."""
    return TimedPatientPolicy(policy, trips) if isinstance(policy, PatientPolicy) else TimedPolicy(policy, trips)
