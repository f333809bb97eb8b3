"""What the learner asks of the learning half of an adapter (`robot_rl.adapters.usr`, `robot_rl.adapters.dsrl`, ...)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from robot_rl.learn.networks import Ensemble
from robot_rl.learn.replay import Batch


class Part(Protocol):
    """A network, target or temperature: what a checkpoint holds of a method."""

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...

    def to(self, device: torch.device) -> None: ...


class Trained(Protocol):
    """What acts: its network's weights are the adapter's."""

    network: Ensemble


class Method(Protocol):
    """The learning half of an adapter."""

    @property
    def actor(self) -> Trained: ...

    def update(self, batch: Batch, *, actor: bool = True) -> dict[str, Tensor]:
        """One gradient step of every part, of the critics alone if not `actor`; scalars for the log."""
        ...

    def modules(self) -> Mapping[str, Part]:
        """The parts whose state a checkpoint holds."""
        ...


@runtime_checkable
class Diagnosing(Protocol):
    """A method with figures to watch that are too dear to compute at every update."""

    def diagnose(self, batch: Batch) -> dict[str, float]:
        """For the log, from the newest batch; changes nothing."""
        ...


@runtime_checkable
class Aliased(Protocol):
    """A method whose critic on steers is distilled from one on actions: two that ought to agree."""

    def critics(self) -> tuple[Ensemble, Ensemble] | None:
        """(on features and steer [B, F + S], on features and normalised chunk [B, F + T*A]); None as it is set now."""
        ...
