"""Policy Decorator: a bounded residual on a black-box policy, the learning half (Policy Decorator paper, section 4).

The base policy acts by its own noise, or has none; the actor adds a residual a_res = alpha tanh(u) to its chunk
(section 4.2, bounded residual), while exploring with a probability that rises to 1 over H chunks, warm-up included:

    pi_behaviour(s) = pi_base(s) + pi_res(s)  if U(0, 1) < eps,  else pi_base(s);   eps = min(t / H, 1)          (1)

The actor sees s alone, the critic the sum of both actions (section 4.3): with a_b the base's chunk,

    critic   min E (Q(s, a) - y)^2,   a the executed chunk,
             y = r + gamma (1 - d) [Qbar(s', a_b' + alpha a_res') - beta log pi(a_res' | s')],   a_res' ~ pi_res(s')
    actor    max E [Q(s, a_b + alpha a_res) - beta log pi(a_res | s)],   a_res ~ pi_res(s)

a_b' is the base's chunk that was really executed next, not a fresh sample: the base is random. The target ignores the
gate. Paper: lr 1e-4, tau 0.01, gamma 0.97, target entropy -R (the residual's dimensions), alpha close to the scale of
the demonstrations' actions, a large H is safe. Unlike the released code, a is what the robot was sent, after clipping.

The paper tried two more inputs of the critic (appendix E.2), and so did we: on the strict lid-opening task it learns
less from a_b and a_res side by side than from their sum, and least from a_res alone (`benchmarks/tuning.jsonl`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.replay import Batch
from robot_rl.learn.steering import Steering


class PolicyDecorator(ActorCritic):
    """x = s [B, F]; f = the chunk a_b + alpha a_res, normalised [B, T*A]."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        super().__init__(steering, config, generator, sees=layout.spec.features, judges=layout.chunk_size)

    def taken(self, batch: Batch) -> Tensor:
        """The executed chunk [B, T*A]."""
        return batch.executed

    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """The base's recorded chunk and the actor's residual on it [B, T*A]."""
        base = batch.extra["next_base" if following else "base"]
        return base + self._steering.residual(steer)
