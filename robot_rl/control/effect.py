"""How far an adapter moves its policy, and how smoothly the hand goes: what a running episode shows of both.

`Meter` only listens. It stands where the control loop hands over what it does anyway: an adapter's decisions pass
through it on their way to the decoder, and what was sent on its way to the recorder. Nothing is drawn, changed or
delayed by it. The finite differences are those of ZPRL, table II, on what the guard let through: with d_t the hand's
displacement that was sent at control step t, Vel = mean |d_t| / dt and Acc = mean |d_t - d_t-1| / dt^2, over steps one
right after the other; a hold or a pause between two of them counts for neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from robot_rl.clock import SECOND
from robot_rl.control.ports import EpisodeRecord, Recorder
from robot_rl.protocols import Adapter
from robot_rl.types import ActionChunk, Array, Context, Steering, Transition, Verdict

ADJACENT = 1.5
"""Control periods by which two steps may be apart to be one right after the other."""
SENT = (Verdict.PASS.value, Verdict.CLIPPED.value)
AXES = 3
"""x, y, z: the first entries of an action."""


@dataclass(frozen=True)
class Effect:
    """One episode; None: there is no such thing in it."""

    episode: int
    adapter_version: int
    chunks: int
    """Decisions of the adapter."""
    noise_rms: float | None
    """Of the decoder's noise, over all entries and chunks; 1 for the frozen policy's own N(0, I)."""
    residual_mm: float | None
    """RMS length of the position residual of a control step, mm."""
    latent_shift: float | None
    """RMS(z~ - z), over all entries and chunks, in z's own units."""
    latent_rms: float | None
    """RMS(z)."""
    speed_m_s: float | None
    acceleration_m_s2: float | None


@dataclass
class _Mean:
    """A mean that is added to."""

    total: float = 0.0
    count: int = 0

    def add(self, total: float, count: int = 1) -> None:
        self.total, self.count = self.total + total, self.count + count

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def root(self) -> float | None:
        return None if self.value is None else math.sqrt(self.value)


@dataclass
class _Sums:
    """Of one episode, or of several."""

    noise: _Mean = field(default_factory=_Mean)
    residual: _Mean = field(default_factory=_Mean)
    latent_shift: _Mean = field(default_factory=_Mean)
    latent: _Mean = field(default_factory=_Mean)
    speed: _Mean = field(default_factory=_Mean)
    acceleration: _Mean = field(default_factory=_Mean)
    chunks: int = 0


class Meter:
    """Measures the episodes of a run, one at a time: `watch` an adapter, record through it.

    `residual`: the method has one, so that 0 means that it was not applied. `frozen_until`: adapter versions below are
    the frozen policy as it is (a method's warm-up); their episodes together are what the others are compared with.
    """

    def __init__(self, recorder: Recorder, step_s: float, *, residual: bool, frozen_until: int) -> None:
        self._recorder, self._step_s = recorder, step_s
        self._residual, self._frozen_until = residual, frozen_until
        self._sums, self._episode, self._version = _Sums(), 0, 0
        self._last: tuple[int, Array] | None = None
        """Stamp and displacement of the newest step that was sent."""
        self._newest: Effect | None = None
        self._frozen_speed, self._frozen_acceleration, self._frozen_episodes = _Mean(), _Mean(), 0
        self.first: Context | None = None
        """What the adapter saw first in the present episode, or the one before."""

    @property
    def shown(self) -> dict[str, Any]:
        """For the page, JSON-able: the newest episode that is over, and the frozen policy's in this process."""
        frozen = {
            "episodes": self._frozen_episodes,
            "speed_m_s": self._frozen_speed.value,
            "acceleration_m_s2": self._frozen_acceleration.value,
        }
        return {
            "newest": None if self._newest is None else asdict(self._newest),
            "frozen": frozen if self._frozen_episodes else None,
        }

    def watch(self, adapter: Adapter) -> Adapter:
        """The same adapter, whose decisions are looked at."""
        return _Watched(adapter, self._decided)

    def _decided(self, context: Context, steering: Steering) -> None:
        sums = self._sums
        if self.first is None:
            self.first = context
        sums.chunks += 1
        if steering.noise.ndim:
            sums.noise.add(float(np.square(steering.noise, dtype=np.float64).sum()), steering.noise.size)
        if self._residual and steering.chunk is None:
            moved = np.square(steering.residual[:, :AXES], dtype=np.float64).sum(1)  # [T] m^2
            sums.residual.add(float(moved.sum()), len(moved))
        if steering.latent is not None and context.z is not None:
            shift = np.asarray(steering.latent - context.z[0], np.float64)
            sums.latent_shift.add(float(np.square(shift).sum()), shift.size)
            sums.latent.add(float(np.square(context.z[0], dtype=np.float64).sum()), shift.size)

    # --- a `Recorder` -------------------------------------------------------------------------------------------------

    def begin(self, episode: int, adapter_version: int) -> None:
        self._sums, self._episode, self._version = _Sums(), episode, adapter_version
        self._last = self.first = None
        self._recorder.begin(episode, adapter_version)

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        if topic == "/steps":
            self._went(stamp_ns, message)
        self._recorder.write(topic, stamp_ns, message)

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        self._recorder.chunk(chunk, epoch)

    def write_transition(self, transition: Transition) -> None:
        self._recorder.write_transition(transition)

    def end(self, record: EpisodeRecord) -> object:
        """Of the recorder; what is shown is of this episode from now on, if its adapter decided anything."""
        kept = self._recorder.end(record)
        sums = self._sums
        if sums.chunks:
            residual_m = sums.residual.root
            self._newest = Effect(
                episode=self._episode,
                adapter_version=self._version,
                chunks=sums.chunks,
                noise_rms=sums.noise.root,
                residual_mm=None if residual_m is None else 1000 * residual_m,
                latent_shift=sums.latent_shift.root,
                latent_rms=sums.latent.root,
                speed_m_s=sums.speed.value,
                acceleration_m_s2=sums.acceleration.value,
            )
        if sums.speed.count and self._version < self._frozen_until:
            self._frozen_episodes += 1
            self._frozen_speed.add(sums.speed.total, sums.speed.count)
            self._frozen_acceleration.add(sums.acceleration.total, sums.acceleration.count)
        return kept

    def _went(self, stamp_ns: int, message: Mapping[str, Any]) -> None:
        if message["verdict"] not in SENT:
            self._last = None
            return
        moved = np.asarray(message["sent"][:AXES], np.float64)  # m
        self._sums.speed.add(float(np.linalg.norm(moved)) / self._step_s)
        if self._last is not None and stamp_ns - self._last[0] < ADJACENT * self._step_s * SECOND:
            self._sums.acceleration.add(float(np.linalg.norm(moved - self._last[1])) / self._step_s**2)
        self._last = stamp_ns, moved


@dataclass(frozen=True)
class _Watched:
    """An adapter that tells what it decides."""

    adapter: Adapter
    tell: Callable[[Context, Steering], None]

    @property
    def version(self) -> int:
        return self.adapter.version

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        steering = self.adapter.steer(context, rng, explore=explore, previous=previous)
        self.tell(context, steering)
        return steering
