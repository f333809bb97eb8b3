"""DSRL-SAC: diffusion steering as plain soft actor-critic over the noise, the learning half (DSRL paper, section 4.1).

The frozen policy is part of the environment: in the latent-action MDP the action is the decoder noise w,

    P^W(. | s, w) = P(. | s, pi_dp(s, w)),      r^W(s, w) = r(s, pi_dp(s, w)),

so that one critic Q(s, w) learns by TD from the noise that replay holds, and neither critic nor actor ever decodes:

    critic   min E (Q(s, w) - y)^2,   y = r + gamma (1 - d) [Qbar(s', w') - beta log pi(w' | s')],   w' ~ pi^W(s')
    actor    max E [Q(s, w) - beta log pi(w | s)],   w ~ pi^W(s),   w in [-b_W, b_W]

Q sees w / b_W; a draw of the warm-up (w ~ N(0, I)) beyond b_W is a number beyond 1. Target entropy 0 or -N/2, of the
squashed w / b_W. Each w speaks for itself only, so that the dimension of w decides: `noise_layout: repeat` ties it.
Appendix B: layer norm in actor and critic, UTD of 20, b_W in [1, 3].
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.replay import Batch
from robot_rl.learn.steering import Steering


class DSRLSAC(ActorCritic):
    """x = s [B, F]; f = w / b_W [B, N]."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        super().__init__(steering, config, generator, sees=layout.spec.features, judges=layout.size)

    def taken(self, batch: Batch) -> Tensor:
        """The noise that was decoded [B, N]."""
        return batch.steer

    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """The actor's noise as it is [B, N]."""
        return steer
