"""The four protocols that everything else is written against: robot, camera, frozen policy, adapter.

Conformance suites that any implementation can inherit are in `robot_rl.testing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from robot_rl.types import (
    Array,
    Command,
    CommandResult,
    Context,
    Observation,
    PolicySpec,
    RobotSpec,
    SafetyState,
    Steering,
)


@runtime_checkable
class Robot(Protocol):
    """A robot driver, in the guard's process; each call of `apply` or `hold` takes one control period."""

    @property
    def spec(self) -> RobotSpec: ...

    def observe(self) -> Observation:
        """The newest proprioception (and `extra`), without images."""
        ...

    def apply(self, target: Array) -> None:
        """Carry out one action `target` [A], SI units, for one control period.

        Raises `RobotFault` when the robot reports an error; the robot then holds.
        """
        ...

    def hold(self) -> None:
        """Controlled stop: keep the present pose for one control period."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Recoverable(Protocol):
    """A robot that stays as it is after a fault until it is told that an operator has cleared it."""

    def recover(self) -> None:
        """Returns at once, from any thread; the next `hold` recovers, and raises `RobotFault` if that fails."""
        ...


@runtime_checkable
class Camera(Protocol):
    """A camera."""

    @property
    def name(self) -> str: ...

    def read(self) -> tuple[int, int, Array]:
        """(sequence number, monotonic ns at which it was taken, uint8 [H, W, 3] RGB)."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class FrozenPolicy(Protocol):
    """A policy whose weights never change (DESIGN decision 7).

    Same context, noise and latent give the same chunk; other noise gives another; a batch of n equals n singles.
    """

    @property
    def spec(self) -> PolicySpec: ...

    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> context of batch B. Raises `BadObservation` (expected against got)."""
        ...

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, *noise_shape] -> chunks [B, T, A] in SI units, float32.

        `latent` [B, Z] replaces the context's z.
        """
        ...


@runtime_checkable
class Adapter(Protocol):
    """The small thing that learns, as the actor sees it: numpy only, one immutable version."""

    @property
    def version(self) -> int: ...

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        """For a context of batch 1. `explore` samples; otherwise the mode is taken.

        `previous` is what was decided for the episode's chunk before, from which exploration may go on; None for its
        first chunk, and after one that was refused.
        """
        ...


@runtime_checkable
class RobotPort(Protocol):
    """The robot as the actor sees it: through the guard, in this process or over a socket."""

    @property
    def spec(self) -> RobotSpec: ...

    @property
    def safety(self) -> SafetyState:
        """The newest state known here."""
        ...

    def observe(self) -> Observation: ...

    def submit(self, command: Command) -> CommandResult:
        """Offer one command for the next control period; returns when that period has been carried out."""
        ...
