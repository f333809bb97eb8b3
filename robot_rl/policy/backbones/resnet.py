"""A picture's encoder: ResNet-18 (He et al. 2016) with group norm and a spatial softmax, trained from scratch.

The two changes are Diffusion Policy's, on which ZPRL builds: batch norm and averaged weights do not go together, and
the mean over the picture says what is in it but not where. `width` 64 is ResNet-18; below, all its layers are narrower.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

GROUP = 8
"""Channels of a group of the norm."""


class PictureEncoder(nn.Module):
    """uint8 pictures [B, H, W, 3], square -> [B, embedding] of unit spread in each row."""

    def __init__(self, width: int, keypoints: int, embedding: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), _norm(width), nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )  # fmt: skip
        blocks, inner = [], width
        for outer, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
            blocks += [BasicBlock(inner, outer, stride), BasicBlock(outer, outer, 1)]
            inner = outer
        self.blocks = nn.Sequential(*blocks)
        self.keypoints = nn.Conv2d(inner, keypoints, 1)
        self.project = nn.Sequential(nn.Linear(2 * keypoints, embedding), nn.LayerNorm(embedding))

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0  # a permuted view: channels last, as oneDNN likes it
        out: Tensor = self.project(where(self.keypoints(self.blocks(self.stem(x)))))
        return out


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a residual path."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False), _norm(outer), nn.ReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False), _norm(outer),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.skip = nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride, bias=False), _norm(outer))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def where(maps: Tensor) -> Tensor:
    """Spatial softmax (Finn et al. 2016): maps [B, K, H, W] -> each one's expected place [B, 2 K], in [-1, 1]."""
    height, width = maps.shape[-2:]
    weight = maps.flatten(2).softmax(dim=-1).view_as(maps)
    across = torch.linspace(-1.0, 1.0, width, device=maps.device)
    down = torch.linspace(-1.0, 1.0, height, device=maps.device)
    return torch.cat([(weight.sum(dim=2) * across).sum(dim=-1), (weight.sum(dim=3) * down).sum(dim=-1)], dim=1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // GROUP, channels)
