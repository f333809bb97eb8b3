"""Soft actor-critic (Haarnoja et al. 2018): what the methods share.

With x what the actor sees, u = pi(x) its steer, and f what the critic is asked about (a method says what x and f are):

    critic        min E (Q(s, f) - y)^2,      y = r + gamma (1 - d) [Qbar(s', f(u')) - beta log pi(u' | x')]
    actor         max E [Q(s, f(u)) - beta log pi(u | x)]
    temperature   beta such that the entropy of pi comes to its target

The entropy in the target is a setting. Qbar follows Q at rate tau, and values are reduced over the members by minimum
or mean. `learn.dual_critic` puts a second critic between Q and the actor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.method import Part
from robot_rl.learn.networks import Target
from robot_rl.learn.replay import Batch
from robot_rl.learn.sac import Actor, Temperature, critic, reduce, regression, td_target
from robot_rl.learn.steering import Steering


class ActorCritic(ABC):
    """A method says what it `sees`, what was `taken`, and what a steer `would` be, now and at the next state."""

    def __init__(
        self, steering: Steering, config: MethodConfig, generator: torch.Generator, *, sees: int, judges: int
    ) -> None:
        """`sees`: size of x; `judges`: size of f."""
        layout = steering.layout
        self._steering, self._config, self._generator = steering, config, generator
        self.actor = Actor(sees, layout, config, generator)
        self._critic = critic(layout.spec.features + judges, config, generator)
        self._target = Target(self._critic, config.tau)
        self._temperature = Temperature(config)

    # --- what a method says of itself ---------------------------------------------------------------------------------

    def sees(self, batch: Batch, *, following: bool) -> Tensor:
        """What the actor sees, x [B, sees], at this state or at the following one."""
        return batch.next_features if following else batch.features

    @abstractmethod
    def taken(self, batch: Batch) -> Tensor:
        """What the critic is asked about, f [B, judges], of what was really done."""

    @abstractmethod
    def would(self, batch: Batch, steer: Tensor, *, following: bool) -> Tensor:
        """The f [B, judges] of a steer [B, S], at this state or at the following one; gradients pass."""

    # --- what it shares -----------------------------------------------------------------------------------------------

    def value_following(self, batch: Batch, steer: Tensor) -> Tensor:
        """[B]: what the TD target says of `steer` at the next state."""
        judged = self.would(batch, steer, following=True)
        return reduce(self._target(torch.cat([batch.next_features, judged], 1)), self._config)

    def value(self, batch: Batch, steer: Tensor) -> Tensor:
        """[B]: what the actor climbs; gradients reach `steer`."""
        judged = self.would(batch, steer, following=False)
        return reduce(self._critic(torch.cat([batch.features, judged], 1), frozen=True), self._config)

    def update(self, batch: Batch, *, actor: bool = True) -> dict[str, Tensor]:
        """One gradient step of every part, of the critics alone if not `actor`; scalars for the log."""
        log = self._learn_critic(batch)
        return log | self._improve_actor(batch) if actor else log

    def modules(self) -> dict[str, Part]:
        """The parts whose state a checkpoint holds."""
        return {
            "actor": self.actor.network,
            "critic": self._critic,
            "target": self._target,
            "temperature": self._temperature,
        }

    def _learn_critic(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            steer, log_prob = self.actor.sample(self.sees(batch, following=True), self._generator, frozen=True)
            value = self.value_following(batch, steer)
            if self._config.entropy_in_target:
                value = value - self._temperature.value * log_prob
            y = td_target(batch.reward, batch.discount, batch.done, value, self._config)
        q = self._critic(torch.cat([batch.features, self.taken(batch)], 1))
        loss = regression(q, y)
        self._critic.step(loss)
        self._target.follow()
        return {"td_loss": loss.detach(), "q": q.detach().mean()}

    def _improve_actor(self, batch: Batch) -> dict[str, Tensor]:
        steer, log_prob = self.actor.sample(self.sees(batch, following=False), self._generator)
        value = self.value(batch, steer)
        self.actor.network.step((self._temperature.value * log_prob - value).mean())
        self._temperature.step(log_prob.detach())
        return {
            "actor_value": value.detach().mean(),
            "entropy": -log_prob.detach().mean(),
            "temperature": self._temperature.value[0],
        }
