"""DSRL-NA: diffusion steering with noise aliasing, the learning half (DSRL paper, algorithm 1).

The actor puts out decoder noise w in [-b_W, b_W]; the robot executes a = pi_dp(s, w). Many w decode to the same a, so
values are learnt where they belong, on actions, and carried over to noise:

- line 4, the action critic by TD on executed chunks:
      min E (Q^A(s, a) - r - gamma Qbar^A(s', a'))^2,   a' = pi_dp(s', pi^W(s'))
- line 5, the noise critic by distillation, w ~ N(0, I), several steps an update:
      min E (Q^W(s, w) - Q^A(s, pi_dp(s, w)))^2
- line 6, the actor, with the entropy bonus of SAC:
      max E [Q^W(s, pi^W(s)) + beta H(pi^W)]

Unlike the released code, b_W holds for NA too: w is clipped to the actor's range before it is decoded. Member i of Q^W
follows member i of Q^A. Pairs (w, pi_dp(s, w)) come from a pool made once per state; the action at s' is decoded
afresh, or the noise critic takes its place (`bootstrap: distilled`) where the decoder is remote.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch
from robot_rl.learn.method import Part, require_steering
from robot_rl.learn.networks import Ensemble, Target
from robot_rl.learn.replay import Batch
from robot_rl.learn.sac import Actor, Temperature, critic, reduce, regression, td_target
from robot_rl.learn.steering import Steering


class DSRLNA:
    """Noise-aliased DSRL; `update` is lines 4 to 6 of algorithm 1."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        if layout.residual_size:
            raise SpecMismatch("dsrl-na steers noise only: expected residual_layout: none; for a residual use usr")
        require_steering("dsrl-na", layout, noise=True, residual=False, latent=False)
        features = layout.spec.features
        self._steering, self._config, self._generator = steering, config, generator
        self.actor = Actor(features, layout, config, generator)
        self._action = critic(features + layout.chunk_size, config, generator)
        self._target = Target(self._action, config.tau)
        self._noise = critic(features + layout.size, config, generator)
        self._temperature = Temperature(config)

    def update(self, batch: Batch, *, actor: bool = True) -> dict[str, Tensor]:
        """One gradient step of every part, of the critics alone if not `actor`; scalars for the log."""
        log = self._learn_action_critic(batch)
        log["distill_loss"] = self._distil(batch)
        return log | self._improve_actor(batch) if actor else log

    def critics(self) -> tuple[Ensemble, Ensemble]:
        """On steers, and on actions."""
        return self._noise, self._action

    def modules(self) -> dict[str, Part]:
        """The parts whose state a checkpoint holds."""
        return {
            "actor": self.actor.network,
            "action": self._action,
            "target": self._target,
            "noise": self._noise,
            "temperature": self._temperature,
        }

    def _learn_action_critic(self, batch: Batch) -> dict[str, Tensor]:
        """Line 4."""
        with torch.no_grad():
            w, log_prob = self.actor.sample(batch.next_features, self._generator, frozen=True)  # [B, N], w / b_W
            if self._config.bootstrap == "decode":
                chunk = self._steering.decode(batch.next_features, w)  # [B, T*A]
                q = self._target(torch.cat([batch.next_features, chunk], 1))
            else:
                q = self._noise(torch.cat([batch.next_features, w], 1), frozen=True)
            value = reduce(q, self._config)
            if self._config.entropy_in_target:
                value = value - self._temperature.value * log_prob
            y = td_target(batch.reward, batch.discount, batch.done, value, self._config)
        q = self._action(torch.cat([batch.features, batch.executed], 1))
        loss = regression(q, y)
        self._action.step(loss)
        self._target.follow()
        return {"td_loss": loss.detach(), "q": q.detach().mean()}

    def _distil(self, batch: Batch) -> Tensor:
        """Line 5, N_D times."""
        for step in range(self._config.distill_steps):
            with torch.no_grad():
                w, chunk = self._steering.alias(batch, step, self._generator)  # [B, N], [B, T*A]
                value = self._action(torch.cat([batch.features, chunk], 1), frozen=True)  # [E, B, 1]
            loss = regression(self._noise(torch.cat([batch.features, w], 1)), value)
            self._noise.step(loss)
        return loss.detach()

    def _improve_actor(self, batch: Batch) -> dict[str, Tensor]:
        """Line 6."""
        w, log_prob = self.actor.sample(batch.features, self._generator)
        value = reduce(self._noise(torch.cat([batch.features, w], 1), frozen=True), self._config)
        self.actor.network.step((self._temperature.value * log_prob - value).mean())
        self._temperature.step(log_prob.detach())
        return {
            "actor_value": value.detach().mean(),
            "entropy": -log_prob.detach().mean(),
            "temperature": self._temperature.value[0],
        }
