"""A whole backbone: eyes, if it has any, and the decoder of what is seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from robot_rl.config import PolicyConfig
from robot_rl.policy.backbones.decoder import ChunkDecoder
from robot_rl.policy.backbones.seeing import Eyes, feature_size, state_size
from robot_rl.policy.backbones.settings import BackboneConfig
from robot_rl.types import ActionSpace, Array


class Backbone(nn.Module):
    """What is trained end to end, and what a checkpoint holds."""

    def __init__(self, config: PolicyConfig, settings: BackboneConfig, space: ActionSpace) -> None:
        super().__init__()
        self.vision = settings.vision
        self.eyes = None if settings.vision is None else Eyes(settings.vision)
        self.chunks = ChunkDecoder(config, settings, space, feature_size(settings.vision))
        self.register_buffer("mean", torch.zeros(state_size(settings.vision)))
        self.register_buffer("scale", torch.ones(state_size(settings.vision)))

    def normal(self, state: Array) -> Tensor:
        """What is no picture, [B, S] in SI units -> the same of about unit spread, float32."""
        mean, scale = (self.get_buffer(name).numpy() for name in ("mean", "scale"))
        return torch.from_numpy(((state - mean) / scale).astype(np.float32))

    def features(self, state: Tensor, squares: Mapping[str, Tensor]) -> Tensor:
        """State [B, S] of unit spread and the squares of its pictures -> features [B, F]."""
        return state if self.eyes is None else torch.cat([state, self.eyes(squares)], dim=1)
