"""The soft actor-critic core that the methods share: squashed Gaussian actor, temperature, critic arithmetic.

Haarnoja et al. 2018. The actor's steer a = tanh(u), u ~ N(mean, std), lies in [-1, 1]^S; its log-probability carries
the Jacobian of tanh and of nothing else, so a target entropy is that of the squashed steer, before any scaling by b_W
or alpha (the uniform steer has entropy S log 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from robot_rl.adapters.actor import LOG_STD_HIGH, LOG_STD_LOW
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.learn.networks import Adam, Ensemble


class Actor:
    """pi(steer | features), one network [F] -> mean and log-std [S] each.

    The last layer starts near zero: mean 0 and std 1 (a residual's: `residual_std`), so that learning starts near the
    base policy's own noise and with a residual of mean 0.
    """

    def __init__(self, features: int, layout: SteeringLayout, config: MethodConfig, generator: torch.Generator) -> None:
        steer = layout.size
        self.network = Ensemble(
            [features, *[config.hidden] * config.layers, 2 * steer],
            members=1,
            layer_norm=config.layer_norm,
            learning_rate=config.actor_learning_rate,
            generator=generator,
        )
        weight, bias = self.network.layers()[-1]
        weight.mul_(0.01)
        bias.zero_()
        middle, half = (LOG_STD_HIGH + LOG_STD_LOW) / 2, (LOG_STD_HIGH - LOG_STD_LOW) / 2
        log_std = torch.zeros(steer)
        log_std[layout.residual_part] = math.log(config.residual_std)
        bias[..., steer:] = torch.atanh((log_std - middle) / half)

    def sample(self, features: Tensor, generator: torch.Generator, *, frozen: bool = False) -> tuple[Tensor, Tensor]:
        """Features [B, F] -> steer [B, S] in [-1, 1] and its log-probability [B]."""
        mean, log_std = self.distribution(features, frozen=frozen)
        draw = torch.randn(mean.shape, generator=generator).to(mean.device)
        u = torch.addcmul(mean, log_std.exp(), draw)
        gaussian = -(0.5 * draw.square() + log_std).sum(-1) - 0.5 * math.log(2 * math.pi) * u.shape[-1]
        jacobian = 2 * (math.log(2) * u.shape[-1] - (u + F.softplus(-2 * u)).sum(-1))  # log(1 - tanh(u)^2), summed
        return u.tanh(), gaussian - jacobian

    def distribution(self, features: Tensor, *, frozen: bool = False) -> tuple[Tensor, Tensor]:
        """Mean and log-std [B, S] of u."""
        mean, raw = self.network(features, frozen=frozen)[0].chunk(2, dim=-1)
        return mean, LOG_STD_LOW + (LOG_STD_HIGH - LOG_STD_LOW) / 2 * (raw.tanh() + 1)


def actor_weights(layers: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """An actor's layers as `adapters.acting.NumpyActor` reads them."""
    weights = {}
    for i, (weight, bias) in enumerate(layers):
        weights[f"layer.{i}.weight"], weights[f"layer.{i}.bias"] = weight[0], bias[0, 0]
    return weights


class Temperature:
    """beta of USR eq. 8, adjusted so that the policy's entropy comes to the target."""

    def __init__(self, config: MethodConfig) -> None:
        self._log = torch.full((1,), math.log(config.initial_temperature))
        self._adam = Adam(self._log, config.actor_learning_rate)
        self._target = config.target_entropy

    @property
    def value(self) -> Tensor:
        """[1]."""
        return self._log.exp()

    def step(self, log_prob: Tensor) -> None:
        """One step of min_beta E[-log beta (log pi + target entropy)]."""
        self._adam.step(-(log_prob.mean() + self._target).reshape(1))

    def state(self) -> dict[str, Tensor]:
        return {"log": self._log, **self._adam.state()}

    def load(self, state: dict[str, Tensor]) -> None:
        self._log.copy_(state["log"])
        self._adam.load(state)

    def to(self, device: torch.device) -> None:
        self._log = self._log.to(device)
        self._adam.to(self._log)


def critic(inputs: int, config: MethodConfig, generator: torch.Generator) -> Ensemble:
    """Q(features, action) of `config.critics` members, [B, inputs] -> [E, B, 1]."""
    return Ensemble(
        [inputs, *[config.hidden] * config.layers, 1],
        members=config.critics,
        layer_norm=config.layer_norm,
        learning_rate=config.learning_rate,
        generator=generator,
    )


def reduce(q: Tensor, config: MethodConfig) -> Tensor:
    """Values [E, B, 1] -> [B]: the minimum or the mean over the members."""
    return q[..., 0].amin(0) if config.critic_reduce == "min" else q[..., 0].mean(0)


def td_target(reward: Tensor, discount: Tensor, done: Tensor, value: Tensor, config: MethodConfig) -> Tensor:
    """TD target y = r + gamma (1 - d) V(s'), all [B]; clipped to [0, 1], where 0/1 returns lie, as a setting."""
    y = torch.addcmul(reward, discount * (1 - done), value)
    return y.clamp(0, 1) if config.clip_targets else y


def regression(q: Tensor, target: Tensor) -> Tensor:
    """Squared error of [E, B, 1] against [B] or [E, B, 1]: mean over the batch, sum over the members."""
    return (q - (target[:, None] if target.dim() == 1 else target)).square().mean((1, 2)).sum()
