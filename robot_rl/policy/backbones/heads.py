"""Heads: (noisy chunk, time, condition) -> an estimate of the same shape as the chunk."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from robot_rl.config import PolicyConfig
from robot_rl.policy.backbones.layers import TimeFeatures, mlp
from robot_rl.policy.backbones.settings import BackboneConfig
from robot_rl.policy.backbones.unet import UnetHead


class Head(Protocol):
    """What an objective trains and samples with."""

    def __call__(self, x: Tensor, k: Tensor, c: Tensor) -> Tensor:
        """X [B, T, A] of unit spread, k [B] in [0, 1] (1: pure noise), c [B, E] -> [B, T, A]."""
        ...


class MlpHead(nn.Module):
    """Everything in one row; the head of `policy.flow.FlowPolicy`."""

    def __init__(self, config: PolicyConfig, action: int) -> None:
        """`action`: A."""
        super().__init__()
        self.time = TimeFeatures()
        size = config.horizon * action
        self.net = mlp(size + TimeFeatures.SIZE + config.embedding, config.hidden, config.layers, size)

    def forward(self, x: Tensor, k: Tensor, c: Tensor) -> Tensor:
        out: Tensor = self.net(torch.cat([x.flatten(1), self.time(k), c], dim=1))
        return out.view_as(x)


Denoiser = MlpHead | UnetHead


def make_head(config: PolicyConfig, settings: BackboneConfig, action: int) -> Denoiser:
    """The head that a task file asks for; `action`: A."""
    if settings.head == "unet":
        return UnetHead(action, config.embedding, settings.channels, settings.kernel)
    return MlpHead(config, action)
