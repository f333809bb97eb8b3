"""A 1D U-Net along the steps of a chunk, conditioned by FiLM (Chi et al., "Diffusion Policy", appendix; ZPRL likewise).

Each level has half the steps of the one before; features and time scale and shift every block's channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_rl.policy.backbones.layers import TimeFeatures

GROUPS = 8


class UnetHead(nn.Module):
    """[B, T, A], [B], [B, E] -> [B, T, A]; T a multiple of 2 ** (levels - 1)."""

    def __init__(self, action: int, embedding: int, channels: Sequence[int], kernel: int) -> None:
        super().__init__()
        condition = TimeFeatures.SIZE + embedding
        self.time = TimeFeatures()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for inner, outer in itertools.pairwise([action, *channels]):
            self.down.append(Block(inner, outer, condition, kernel))
        self.middle = Block(channels[-1], channels[-1], condition, kernel)
        for inner, outer in itertools.pairwise([*reversed(channels), channels[0]]):
            self.up.append(Block(2 * inner, outer, condition, kernel))
        self.shrink = nn.ModuleList([nn.Conv1d(size, size, 3, stride=2, padding=1) for size in channels[:-1]])
        self.grow = nn.ModuleList(
            [nn.ConvTranspose1d(size, size, 4, stride=2, padding=1) for size in reversed(channels[:-1])]
        )
        self.out = nn.Conv1d(channels[0], action, 1)

    def forward(self, x: Tensor, k: Tensor, c: Tensor) -> Tensor:
        condition = torch.cat([self.time(k), c], dim=1)
        hidden, levels = x.transpose(1, 2), []
        for level, block in enumerate(self.down):
            hidden = block(hidden, condition)
            levels.append(hidden)
            if level < len(self.shrink):
                hidden = self.shrink[level](hidden)
        hidden = self.middle(hidden, condition)
        for level, block in enumerate(self.up):
            hidden = block(torch.cat([hidden, levels.pop()], dim=1), condition)
            if level < len(self.grow):
                hidden = self.grow[level](hidden)
        out: Tensor = self.out(hidden).transpose(1, 2)
        return out


class Block(nn.Module):
    """Two convolutions with group norm around a residual path; FiLM between them."""

    def __init__(self, inner: int, outer: int, condition: int, kernel: int) -> None:
        super().__init__()
        self.first = _convolution(inner, outer, kernel)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(condition, 2 * outer))
        self.second = _convolution(outer, outer, kernel)
        self.skip = nn.Conv1d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[..., None].chunk(2, dim=1)
        out: Tensor = self.second(self.first(x) * (1 + scale) + shift) + self.skip(x)
        return out


def _convolution(inner: int, outer: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(inner, outer, kernel, padding=kernel // 2), nn.GroupNorm(GROUPS, outer), nn.Mish())
