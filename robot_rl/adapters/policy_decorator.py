"""Policy Decorator: a bounded residual on a black-box policy, the learning half (Policy Decorator paper, section 4).

The base policy acts by its own noise, or has none; the actor adds a residual a_res = alpha tanh(u) to its chunk
(section 4.2, bounded residual), while exploring with a probability that rises to 1 over H chunks, warm-up included:

    pi_behaviour(s) = pi_base(s) + pi_res(s)  if U(0, 1) < eps,  else pi_base(s);   eps = min(t / H, 1)          (1)

The actor sees s alone, the critic the sum of both actions (section 4.3, appendix E.2): with a_b the base's chunk,

    critic   min E (Q(s, a) - y)^2,   a the executed chunk,
             y = r + gamma (1 - d) [Qbar(s', a_b' + alpha a_res') - beta log pi(a_res' | s')],   a_res' ~ pi_res(s')
    actor    max E [Q(s, a_b + alpha a_res) - beta log pi(a_res | s)],   a_res ~ pi_res(s)

a_b' is the base's chunk that was really executed next, not a fresh sample: the base is random. The target ignores the
gate. Paper: lr 1e-4, tau 0.01, gamma 0.97, target entropy -R (the residual's dimensions), alpha close to the scale of
the demonstrations' actions, a large H is safe. Unlike the released code, a is what the robot was sent, after clipping.

The paper tried three inputs of the critic beside s, and so does `critic_input`: the sum (the paper's choice); both, a_b
and the residual; the residual alone, so that Q(s, u) is a mean over the base's chunks. The latter two have it as u in
[-1, 1]; the sum shows it as alpha u, which is little to see beside a base that varies by more. Of what was executed, u
is what comes nearest to a - a_b: 0 where the gate was shut.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.actor_critic import ActorCritic
from robot_rl.learn.method import require_steering
from robot_rl.learn.replay import Batch
from robot_rl.learn.steering import Steering


class PolicyDecorator(ActorCritic):
    """x = s [B, F]; f = the chunk a_b + alpha a_res, normalised [B, T*A]; or a_b and u [B, T*A + R]; or u [B, R]."""

    name = "policy-decorator"

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        require_steering(self.name, layout, noise=False, residual=True, latent=False)
        judges = {
            "sum": layout.chunk_size,
            "both": layout.chunk_size + layout.residual_size,
            "residual": layout.residual_size,
        }
        super().__init__(steering, config, generator, sees=layout.spec.features, judges=judges[config.critic_input])

    def taken(self, batch: Batch) -> Tensor:
        """Of the executed chunk."""
        if self._config.critic_input == "sum":
            return batch.executed
        base = batch.extra["base"]
        return self._input(base, self._steering.residual_of(batch.executed - base))

    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """Of the base's recorded chunk and the actor's residual on it."""
        return self._input(batch.extra["next_base" if following else "base"], steer)

    def _input(self, base: Tensor, steer: Tensor) -> Tensor:
        """Base chunk [B, T*A] and u [B, R] -> f."""
        if self._config.critic_input == "residual":
            return steer
        if self._config.critic_input == "both":
            return torch.cat([base, steer], 1)
        return base + self._steering.residual(steer)
