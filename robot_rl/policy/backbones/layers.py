"""Small parts that several backbones are built of."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from robot_rl.policy.flow import TIME_FEATURES, TIME_FREQUENCIES


def mlp(size: int, hidden: int, layers: int, out: int) -> nn.Sequential:
    """`layers` hidden layers of `hidden` with GELU."""
    sizes = [size, *[hidden] * layers]
    parts: list[nn.Module] = []
    for inner, outer in itertools.pairwise(sizes):
        parts += [nn.Linear(inner, outer), nn.GELU(approximate="tanh")]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], out))


class TimeFeatures(nn.Module):
    """Times in [0, 1], [B] -> sines and cosines [B, SIZE], as `policy.flow.time_features`."""

    SIZE = TIME_FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.from_numpy(TIME_FREQUENCIES).float(), persistent=False)

    def forward(self, k: Tensor) -> Tensor:
        phase = k[:, None] * self.get_buffer("frequencies")
        return torch.cat([phase.sin(), phase.cos()], dim=1)
