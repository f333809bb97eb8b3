"""RLPD: reinforcement learning with prior data, from scratch; the baseline without a base policy, the learning half.

Ball et al. 2023, as the DSRL paper runs it on chunks (section 5.4, appendix C.4): soft actor-critic whose action is the
whole chunk a in the action range, and whose batches come half from online episodes and half from prior data
(symmetric sampling), with layer norm in the critics and many of them:

    critic   min E (Q(s, a) - y)^2,   y = r + gamma (1 - d) [Qbar(s', a') - beta log pi(a' | s')],   a' ~ pi(s')
    actor    max E [Q(s, a) - beta log pi(a | s)],   a ~ pi(s)

Prior data are demonstrations, chunks in which a person acted, and the warm-up's episodes of the base policy. The base
policy has no say in what is executed after the warm-up. The paper takes the minimum over a random pair of its 10
critics; here it is the minimum or the mean over all (`critic_reduce`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.replay import Batch
from robot_rl.learn.steering import Steering


class RLPD(ActorCritic):
    """x = s [B, F]; f = the chunk, normalised [B, T*A]."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        super().__init__(steering, config, generator, sees=layout.spec.features, judges=layout.chunk_size)

    def taken(self, batch: Batch) -> Tensor:
        """The executed chunk [B, T*A]."""
        return batch.executed

    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """The actor's chunk [B, T*A]: the residual's map around the middle of the range, which is 0 here."""
        return self._steering.residual(steer)
