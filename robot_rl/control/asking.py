"""What the control loop asks of the policy, so that it never waits: it holds, and serves its operator.

By the clock on the wall an answer that is not there within half a control period costs periods of holding, and not the
loop: STOP, the page and the guard's deadlines go on. A simulated clock stands still meanwhile, so in lockstep the call
is waited for, and a run stays the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from robot_rl.clock import SimulatedClock
from robot_rl.control.motion import Motion
from robot_rl.control.ports import Answer, PatientPolicy
from robot_rl.errors import DeadlineMissed
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Context, Observation

T = TypeVar("T")


class Asker:
    """`policy` as one episode asks it; `hold(why)` lets one control period pass."""

    def __init__(self, policy: FrozenPolicy, motion: Motion, hold: Callable[[str], None]) -> None:
        self._policy, self._motion, self._hold = policy, motion, hold
        self._patient = isinstance(policy, PatientPolicy) and not isinstance(motion.clock, SimulatedClock)
        self._patience_s = 0.5 / motion.port.spec.control_hz

    def encode(self, observation: Observation) -> Context:
        """Of batch 1. Raises what the policy raises, and `DeadlineMissed` when the episode ends meanwhile."""
        if self._patient and isinstance(self._policy, PatientPolicy):
            return self._await(self._policy.begin_encode([observation]))
        return self._policy.encode([observation])

    def decode(self, context: Context, noise: Array, latent: Array | None) -> Array:
        """As `FrozenPolicy.decode`. Raises as `encode`."""
        if self._patient and isinstance(self._policy, PatientPolicy):
            return self._await(self._policy.begin_decode(context, noise, latent))
        return self._policy.decode(context, noise, latent)

    def _await(self, answer: Answer[T]) -> T:
        over = not self._motion.session.in_episode
        while not answer.ready(self._patience_s):
            self._hold("holding, the policy has not answered yet")
            if not over and not self._motion.session.in_episode:
                answer.cancel()
                raise DeadlineMissed("the episode ended while the policy was asked")
        return answer.result()
