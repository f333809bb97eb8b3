"""Steer vectors in torch: what `adapters.layout` does, over batches, down to the chunk the robot would be sent."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch
from robot_rl.learn.replay import Batch


class Decoder(Protocol):
    """A frozen policy's decoder in torch, without gradients (`policy.torch_flow.TorchFlow`)."""

    def decode(self, features: Tensor, noise: Tensor) -> Tensor:
        """Features [B, F] and noise [B, *noise_shape] -> chunks [B, T, A], SI units."""
        ...


@runtime_checkable
class LatentDecoder(Decoder, Protocol):
    """A decoder with a variational bottleneck (ZPRL section IV-A)."""

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Latent [B, Z] -> the condition c^ = g(z) [B, C] that the flow is given."""
        ...


@runtime_checkable
class Movable(Protocol):
    """A decoder that computes where it is told to."""

    def to(self, device: torch.device) -> None: ...


class Steering:
    """Decode and refine: a = pi_dp(s, w) + alpha a_res (USR eq. 3 and 4), chunks flat and normalised."""

    def __init__(self, layout: SteeringLayout, config: MethodConfig, decoder: Decoder) -> None:
        self.layout, self._decoder = layout, decoder
        self._bound = config.noise_bound
        self._noise_map = torch.from_numpy(layout.noise_map)
        self._residual_map = torch.from_numpy(layout.residual_map / layout.action_half)
        self._latent_map = torch.from_numpy(layout.latent_map)
        self._mid = torch.from_numpy(layout.action_mid)
        self._half = torch.from_numpy(layout.action_half)

    def to(self, device: torch.device) -> None:
        """The maps, and the decoder if there is anything in it to move."""
        for name in ("_noise_map", "_residual_map", "_latent_map", "_mid", "_half"):
            setattr(self, name, getattr(self, name).to(device))
        if isinstance(self._decoder, Movable):
            self._decoder.to(device)

    def decode(self, features: Tensor, noise_steer: Tensor) -> Tensor:
        """Features [B, F], noise part of the steer [B, N] -> chunks [B, T*A]."""
        noise = (noise_steer @ self._noise_map).view(-1, *self.layout.spec.noise_shape)
        return (self._decoder.decode(features, noise).flatten(1) - self._mid) / self._half

    def residual(self, residual_steer: Tensor) -> Tensor:
        """Residual part of the steer [B, R] -> what it adds to a chunk [B, T*A]."""
        return residual_steer @ self._residual_map

    def latent_shift(self, latent_steer: Tensor) -> Tensor:
        """Latent part of the steer [B, L] -> lambda dz [B, Z]."""
        return latent_steer @ self._latent_map

    def act(self, features: Tensor, steer: Tensor) -> Tensor:
        """Features [B, F], steer [B, S] -> chunks [B, T*A], the residual always applied."""
        noise, residual = steer[:, self.layout.noise_part], steer[:, self.layout.residual_part]
        return self.decode(features, noise) + self.residual(residual)

    def decode_base(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Features [B, F] -> what the base policy does there by its own noise w ~ N(0, I) [B, T*A]."""
        shape = self.layout.spec.noise_shape
        noise = torch.randn(len(features), *shape, generator=generator) if shape else torch.zeros(len(features))
        return (self._decoder.decode(features, noise.to(features.device)).flatten(1) - self._mid) / self._half

    def feature_shift(self, z: Tensor, shifted: Tensor) -> Tensor:
        """How far the decoder's condition g(z) [B, C] moves from latent z [B, Z] to another: L2 norms [B]."""
        decoder = self._decoder
        if not isinstance(decoder, LatentDecoder):
            raise SpecMismatch("this policy's decoder has no bottleneck latent; expected one with `reconstruct`")
        moved = decoder.reconstruct(shifted) - decoder.reconstruct(z)
        norm: Tensor = torch.linalg.vector_norm(moved, dim=1)
        return norm

    def draw_noise(self, size: int, generator: torch.Generator) -> Tensor:
        """Noise steer [size, N] for distillation: w / b_W of w ~ N(0, I) clipped to the actor's range [-b_W, b_W]."""
        draw = torch.randn(size, self.layout.noise_size, generator=generator)
        return draw.clamp_(-self._bound, self._bound).div_(self._bound).to(self._mid.device)

    def alias(self, batch: Batch, draw: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random steer [B, S] and the chunk [B, T*A] that it gives at the batch's states.

        Its noise and what that decodes to come from the pool, or afresh; its residual is uniform in [-1, 1].
        """
        if batch.pool_steer is not None and batch.pool_chunks is not None:
            noise, chunk = batch.pool_steer[draw], batch.pool_chunks[draw]
        else:
            noise = self.draw_noise(len(batch.features), generator)
            chunk = self.decode(batch.features, noise)
        if not self.layout.residual_size:
            return noise, chunk
        uniform = torch.rand(len(noise), self.layout.residual_size, generator=generator)
        residual = uniform.to(noise.device) * 2 - 1
        return torch.cat([noise, residual], 1), chunk + self.residual(residual)
