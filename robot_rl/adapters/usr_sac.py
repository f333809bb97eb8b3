"""USR-SAC: steering and residual with a single critic, the learning half (USR paper, appendix E.3).

The actor is USR's: it puts out [w, a_res] (eq. 2), the robot executes a = pi_dp(s, w) + alpha a_res (eq. 3, 4), the
residual with a probability that rises to 1 (eq. 5, in `adapters.acting`). In place of two critics one learns on the
combined action itself, from what replay holds, without ever decoding:

    critic   min E (Q(s, [w, a_res]) - y)^2,   y = r + gamma (1 - d) [Qbar(s', u') - beta log pi(u' | s')],
             u' = [w', a_res'] ~ pi(s')
    actor    max E [Q(s, u) - beta log pi(u | s)],   u ~ pi(s)                                          (as eq. 8)

Where the gate was shut, replay holds a_res = 0: what was done. The target ignores the gate, as Policy Decorator's does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.replay import Batch
from robot_rl.learn.steering import Steering


class USRSAC(ActorCritic):
    """x = s [B, F]; f = [w / b_W, a_res] [B, N + R]."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        super().__init__(steering, config, generator, sees=layout.spec.features, judges=layout.size)

    def taken(self, batch: Batch) -> Tensor:
        """Noise and residual that made the chunk [B, N + R]."""
        return batch.steer

    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """The actor's steer as it is [B, N + R]."""
        return steer
