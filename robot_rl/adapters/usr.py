"""USR: unified latent steering and residual refinement, the learning half.

One actor puts out [w, a_res] (eq. 2); the robot executes a = pi_dp(s, w) + alpha a_res (eq. 3, 4), the residual with a
probability that rises to 1 (eq. 5, in `adapters.acting`). Two critics (section 4.2, algorithm 1):

- the environment critic Q^A(s, a) learns what was executed, by TD:
      L(phi) = E (Q^A(s, a) - y)^2,   y = r + gamma (1 - d) Qbar^A(s', a'),   a' the actor's action at s'       (6)
- the combined critic Q^C(s, [w, a_res]) is distilled from it, N_D times an update:
      L(psi) = E (Q^C(s, [w, a_res]) - Q^A(s, pi_dp(s, w) + alpha a_res))^2                                    (7)

The actor climbs Q^C with an entropy bonus, and no gradient passes through the decoder:
      J(theta) = E [Q^C(s, pi(s)) + beta H(pi)]                                                                (8)

Where the paper is silent: its "U" in (7) is w ~ N(0, I) clipped to [-b_W, b_W] and a_res ~ U[-1, 1]; member i of Q^C
follows member i of Q^A, and the minimum (or mean) is taken where a value is used; pairs (w, pi_dp(s, w)) come from a
pool made once per state. The TD target ignores the gate, as Policy Decorator does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.method import Part, require_steering
from robot_rl.learn.networks import Ensemble, Target
from robot_rl.learn.replay import Batch
from robot_rl.learn.sac import Actor, Temperature, critic, reduce, regression, td_target
from robot_rl.learn.steering import Steering


class USR:
    """Dual-critic USR; `update` is one iteration of algorithm 1's inner loop."""

    def __init__(self, steering: Steering, config: MethodConfig, generator: torch.Generator) -> None:
        layout = steering.layout
        require_steering("usr", layout, noise=True, residual=None, latent=False)
        features = layout.spec.features
        self._steering, self._config, self._generator = steering, config, generator
        self.actor = Actor(features, layout, config, generator)
        self._environment = critic(features + layout.chunk_size, config, generator)
        self._target = Target(self._environment, config.tau)
        self._combined = critic(features + layout.size, config, generator)
        self._temperature = Temperature(config)

    def update(self, batch: Batch, *, actor: bool = True) -> dict[str, Tensor]:
        """One gradient step of every part, of the critics alone if not `actor`; scalars for the log."""
        log = self._learn_environment_critic(batch)
        log["distill_loss"] = self._distil(batch)
        return log | self._improve_actor(batch) if actor else log

    def critics(self) -> tuple[Ensemble, Ensemble]:
        """On steers, and on actions."""
        return self._combined, self._environment

    def modules(self) -> dict[str, Part]:
        """The parts whose state a checkpoint holds."""
        return {
            "actor": self.actor.network,
            "environment": self._environment,
            "target": self._target,
            "combined": self._combined,
            "temperature": self._temperature,
        }

    def _learn_environment_critic(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 6."""
        with torch.no_grad():
            steer, log_prob = self.actor.sample(batch.next_features, self._generator, frozen=True)
            if self._config.bootstrap == "decode":
                chunk = self._steering.act(batch.next_features, steer)  # [B, T*A]
                q = self._target(torch.cat([batch.next_features, chunk], 1))
            else:
                q = self._combined(torch.cat([batch.next_features, steer], 1), frozen=True)
            value = reduce(q, self._config)
            if self._config.entropy_in_target:
                value = value - self._temperature.value * log_prob
            y = td_target(batch.reward, batch.discount, batch.done, value, self._config)
        q = self._environment(torch.cat([batch.features, batch.executed], 1))
        loss = regression(q, y)
        self._environment.step(loss)
        self._target.follow()
        return {"td_loss": loss.detach(), "q": q.detach().mean()}

    def _distil(self, batch: Batch) -> Tensor:
        """Eq. 7, N_D times."""
        for step in range(self._config.distill_steps):
            with torch.no_grad():
                noise, chunk = self._steering.alias(batch, step, self._generator)  # [B, N], [B, T*A]
                residual = torch.rand(len(noise), self._steering.layout.residual_size, generator=self._generator)
                residual = residual.to(noise.device) * 2 - 1
                chunk = chunk + self._steering.residual(residual)
                value = self._environment(torch.cat([batch.features, chunk], 1), frozen=True)  # [E, B, 1]
            loss = regression(self._combined(torch.cat([batch.features, noise, residual], 1)), value)
            self._combined.step(loss)
        return loss.detach()

    def _improve_actor(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 8."""
        steer, log_prob = self.actor.sample(batch.features, self._generator)
        value = reduce(self._combined(torch.cat([batch.features, steer], 1), frozen=True), self._config)
        self.actor.network.step((self._temperature.value * log_prob - value).mean())
        self._temperature.step(log_prob.detach())
        return {
            "actor_value": value.detach().mean(),
            "entropy": -log_prob.detach().mean(),
            "temperature": self._temperature.value[0],
        }
