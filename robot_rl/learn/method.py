"""What the learner asks of the learning half of an adapter (`robot_rl.adapters.usr`, `robot_rl.adapters.dsrl`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from robot_rl.learn.replay import Batch
from robot_rl.learn.sac import Actor


class Part(Protocol):
    """A network, target or temperature: what a checkpoint holds of a method."""

    def state(self) -> dict[str, Tensor]: ...

    def load(self, state: dict[str, Tensor]) -> None: ...


class Method(Protocol):
    """The learning half of an adapter."""

    actor: Actor

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step of every part; scalars for the log."""
        ...

    def modules(self) -> Mapping[str, Part]:
        """The parts whose state a checkpoint holds."""
        ...
