"""From features to chunks: embedding, head or bins, bottleneck; what a policy and its learner share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robot_rl.config import PolicyConfig
from robot_rl.policy.backbones.bins import Bins
from robot_rl.policy.backbones.heads import Denoiser, make_head
from robot_rl.policy.backbones.layers import mlp
from robot_rl.policy.backbones.objectives import make_objective
from robot_rl.policy.backbones.settings import BackboneConfig
from robot_rl.policy.cloning import Bottleneck
from robot_rl.policy.flow import LOG_STD, action_scale
from robot_rl.types import ActionSpace


class TurnedBottleneck(Bottleneck):
    """Its z comes in axes of its own (`policy.latent_axes`), once they are known."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        self.register_buffer("turn", torch.eye(config.latent))

    @torch.no_grad()
    def turn_by(self, axes: Tensor) -> None:
        """From now on z is what it was, times `axes` [Z, Z]; what is made of it stays."""
        self.get_buffer("turn").copy_(self.get_buffer("turn") @ axes)
        first = self.reconstruct[0]
        assert isinstance(first, nn.Linear)  # weight [out, Z]
        first.weight.copy_(first.weight @ axes)


class ChunkDecoder(nn.Module):
    """Features [B, F] and noise -> chunks [B, T, A] SI; the learner's `Decoder` too (`learn.steering`)."""

    def __init__(self, config: PolicyConfig, settings: BackboneConfig, space: ActionSpace, features: int) -> None:
        super().__init__()
        self.embed = mlp(features, config.hidden, config.layers, config.embedding)
        self.head: Denoiser | None = None
        self.bins: Bins | None = None
        self.bottleneck: TurnedBottleneck | None = None
        self.objective = make_objective(config, settings)
        if settings.takes_noise:
            self.head = make_head(config, settings, space.size)
        else:
            self.bins = Bins(config.embedding, settings.bins, config.horizon, space.size, settings.choice)
        if settings.has_latent:
            self.bottleneck = TurnedBottleneck(config)
        for name, part in zip(("centre", "reach"), action_scale(space), strict=True):
            self.register_buffer(name, torch.from_numpy(part), persistent=False)
        self.register_buffer("mean", torch.zeros(space.size))
        self.register_buffer("scale", torch.ones(space.size))

    @torch.no_grad()
    def decode(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        """Features [B, F], noise [B, T, A] ([B] where none is taken), latent [B, Z] or None -> chunks [B, T, A] SI."""
        return self.trace(features, noise, latent)

    def trace(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        """As `decode`, differentiable in noise and latent."""
        c = self.embed(features) if latent is None else self._reconstruct(latent)
        if self.head is not None:
            x = self.objective.sample(self.head, noise, c)
        else:
            assert self.bins is not None  # there is one or the other
            x = self.bins.chunk(c, features)
        x = (x * self.get_buffer("scale") + self.get_buffer("mean")).clamp(-1.0, 1.0)
        return self.get_buffer("centre") + self.get_buffer("reach") * x

    @torch.no_grad()
    def reconstruct(self, latent: Tensor) -> Tensor:
        """Latent [B, Z] -> the condition c^ = g(z) [B, E] that takes the embedding's place."""
        return self._reconstruct(latent)

    def latent_of(self, features: Tensor, noise: Tensor) -> Tensor:
        """Features [B, F] and N(0, I) [B, Z] -> z [B, Z]; only of a policy that has one."""
        assert self.bottleneck is not None
        mean, log_std = self.bottleneck.encode(self.embed(features)).chunk(2, dim=1)
        z: Tensor = (mean + log_std.clamp(*LOG_STD).exp() * noise) @ self.bottleneck.get_buffer("turn")
        return z

    def loss(self, chunk: Tensor, c: Tensor) -> Tensor:
        """Of chunks [B, T, A] of unit spread under conditions [B, E]."""
        if self.head is not None:
            return self.objective.loss(self.head, chunk, c)
        assert self.bins is not None
        return self.bins.loss(chunk, c)

    def _reconstruct(self, latent: Tensor) -> Tensor:
        assert self.bottleneck is not None  # a policy without one has no latent in its spec, and is given none
        c: Tensor = self.bottleneck.reconstruct(latent)
        return c
