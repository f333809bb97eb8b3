"""Soft actor-critic with two critics: values are learnt on actions, where they belong, and carried over to steers.

    critic      Q^A(s, a) on executed chunks by TD, as in `learn.actor_critic`;   a' is decoded from the actor's steer
    distilled   min E (Q^D(s, u) - Q^A(s, a(u)))^2   N_D times an update, on random steers u, a(u) their chunks
    actor       climbs Q^D, so that no gradient passes through the decoder

Member i of Q^D follows member i of Q^A, and the minimum (or mean) is taken where a value is used. Pairs (noise, chunk)
come from a pool made once per state. The chunk at s' is decoded afresh, or Q^D takes Q^A's place in the target
(`bootstrap: distilled`) where the decoder is remote.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.method import Part
from robot_rl.learn.networks import Ensemble
from robot_rl.learn.replay import Batch
from robot_rl.learn.sac import critic, reduce, regression
from robot_rl.learn.steering import Steering


class DualCritic(ActorCritic):
    """x = s [B, F]; f = the chunk, normalised [B, T*A]."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        features = layout.spec.features
        super().__init__(steering, config, generator, sees=features, judges=layout.chunk_size)
        self._distilled = critic(features + layout.size, config, generator)

    def taken(self, batch: Batch) -> Tensor:
        """The chunk that the robot was sent [B, T*A]."""
        return batch.executed

    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """The chunk that `steer` decodes to [B, T*A], the residual always applied."""
        return self._steering.act(batch.next_features if following else batch.features, steer)

    def value_following(self, batch: Batch, steer: Tensor) -> Tensor:
        """By Q^A's target, or by Q^D with `bootstrap: distilled`."""
        if self._config.bootstrap == "decode":
            return super().value_following(batch, steer)
        return reduce(self._distilled(torch.cat([batch.next_features, steer], 1), frozen=True), self._config)

    def value(self, batch: Batch, steer: Tensor) -> Tensor:
        """By Q^D."""
        return reduce(self._distilled(torch.cat([batch.features, steer], 1), frozen=True), self._config)

    def update(self, batch: Batch, *, actor: bool = True) -> dict[str, Tensor]:
        """One gradient step of every part, of the critics alone if not `actor`; scalars for the log."""
        log = self._learn_critic(batch)
        log["distill_loss"] = distil(
            batch, self._critic, self._distilled, self._steering, self._config.distill_steps, self._generator
        )
        return log | self._improve_actor(batch) if actor else log

    def critics(self) -> tuple[Ensemble, Ensemble]:
        """On steers, and on actions."""
        return self._distilled, self._critic

    def modules(self) -> dict[str, Part]:
        """The parts whose state a checkpoint holds."""
        return {**super().modules(), "distilled": self._distilled}


def distil(
    batch: Batch, teacher: Ensemble, student: Ensemble, steering: Steering, steps: int, generator: torch.Generator
) -> Tensor:
    """`steps` gradient steps of a critic on steers towards what one on chunks says; the loss of the last one."""
    for step in range(steps):
        with torch.no_grad():
            steer, chunk = steering.alias(batch, step, generator)  # [B, S], [B, T*A]
            value = teacher(torch.cat([batch.features, chunk], 1), frozen=True)  # [E, B, 1]
        loss = regression(student(torch.cat([batch.features, steer], 1)), value)
        student.step(loss)
    return loss.detach()
