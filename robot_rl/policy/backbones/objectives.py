"""What turns noise into a chunk, and how it is learnt: two objectives over the same heads."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from robot_rl.config import PolicyConfig
from robot_rl.policy.backbones.diffusion import Diffusion
from robot_rl.policy.backbones.heads import Head
from robot_rl.policy.backbones.settings import BackboneConfig
from robot_rl.policy.flow import flow_times


class Objective(Protocol):
    """Chunks [B, T, A] of unit spread; a head that is asked about them at times k in [0, 1], 1 being noise."""

    def loss(self, head: Head, chunk: Tensor, c: Tensor) -> Tensor:
        """The mean loss of `head` on clean chunks under conditions [B, E]."""
        ...

    def sample(self, head: Head, noise: Tensor, c: Tensor) -> Tensor:
        """The chunk that `noise` [B, T, A] becomes: the same for the same noise and condition."""
        ...


class Flow:
    """Flow matching as in `policy.flow`: the head estimates the clean chunk, and Euler steps go there."""

    def __init__(self, steps: int) -> None:
        self._times = flow_times(steps).tolist()

    def loss(self, head: Head, chunk: Tensor, c: Tensor) -> Tensor:
        """ZPRL equation 1 weighted by k^2 (`policy.cloning`); k is stratified over the batch."""
        noise = torch.randn_like(chunk)
        k = (torch.arange(len(chunk)) + torch.rand(len(chunk))) / len(chunk)
        return nn.functional.mse_loss(head(torch.lerp(chunk, noise, k[:, None, None]), k, c), chunk)

    def sample(self, head: Head, noise: Tensor, c: Tensor) -> Tensor:
        """dx/dk = (x - a^) / k from k = 1 to 0, in Euler steps."""
        x, steps = noise, len(self._times)
        for left, k in zip(range(steps, 0, -1), self._times, strict=True):
            x = x + (head(x, torch.full((len(x),), k, device=x.device), c) - x) / left
        return x


def make_objective(config: PolicyConfig, settings: BackboneConfig) -> Objective:
    """The objective that a task file asks for."""
    if settings.objective == "diffusion":
        return Diffusion(settings.timesteps, config.ode_steps, settings.prediction)
    return Flow(config.ode_steps)
