"""What the entries of a steer vector mean: one linear map from [-1, 1]^S to decoder noise and action residual.

An actor puts out `steer = [w / b_W, a_res]`, every entry in [-1, 1] (USR eq. 2). The first N entries span the decoder's
noise within [-b_W, b_W]; the other R entries span the residual within +-alpha, per control step and in SI units.

    noise    = steer[:N] @ noise_map        noise_map [N, W], W = entries of one decoder noise
    residual = steer[N:] @ residual_map     residual_map [R, T*A], SI units

`full` gives every noise entry its own dimension; `repeat` ties one vector over the steps of the chunk, which some
backbones like and others do not survive. A `constant` residual is one vector per chunk; an action entry whose alpha is
0 takes no dimension.
"""

from __future__ import annotations

import math

import numpy as np

from robot_rl.config import MethodConfig
from robot_rl.errors import BadAction, SpecMismatch
from robot_rl.types import Array, PolicySpec


class SteeringLayout:
    """The steer space of one method on one policy. Raises `SpecMismatch` when the two do not fit."""

    def __init__(self, spec: PolicySpec, config: MethodConfig) -> None:
        self.spec = spec
        self.noise_bound = config.noise_bound
        self.noise_map = _noise_map(spec.noise_shape, config.noise_layout) * np.float32(config.noise_bound)
        """[N, W] float32."""
        self.residual_map = _residual_map(spec, config)
        """[R, T*A] float32, SI units."""
        low, high = (np.asarray(bound, np.float32) for bound in (spec.action_space.low, spec.action_space.high))
        self.action_mid = np.tile((high + low) / 2, spec.horizon)
        """[T*A] SI units: the chunk whose normalised form is 0."""
        self.action_half = np.tile((high - low) / 2, spec.horizon)
        """[T*A] SI units per normalised unit."""

    @classmethod
    def plain(cls, spec: PolicySpec) -> SteeringLayout:
        """The frozen policy as it is: untied N(0, I) noise and no residual."""
        return cls(spec, MethodConfig(noise_layout="full", noise_bound=1.0))

    @property
    def noise_size(self) -> int:
        """N, steer entries that choose the noise."""
        return int(self.noise_map.shape[0])

    @property
    def residual_size(self) -> int:
        """R, steer entries that choose the residual."""
        return int(self.residual_map.shape[0])

    @property
    def size(self) -> int:
        """S = N + R."""
        return self.noise_size + self.residual_size

    @property
    def chunk_size(self) -> int:
        """T*A, entries of a flat chunk."""
        return int(self.action_half.size)

    def split(self, steer: Array) -> tuple[Array, Array]:
        """Steer [B, S] -> decoder noise [B, *noise_shape] and residual [B, T, A] in SI units, float32."""
        if steer.ndim != 2 or steer.shape[1] != self.size:
            raise BadAction(f"expected steer [B, {self.size}], got {list(steer.shape)}")
        noise = steer[:, : self.noise_size].astype(np.float32) @ self.noise_map
        residual = steer[:, self.noise_size :].astype(np.float32) @ self.residual_map
        return (
            noise.reshape(len(steer), *self.spec.noise_shape),
            residual.reshape(len(steer), self.spec.horizon, self.spec.action_space.size),
        )

    def noise_steer(self, noise: Array) -> Array:
        """Decoder noise [B, *noise_shape] -> the noise part of the steer [B, N]; beyond [-1, 1] where w is beyond b_W.

        Raises `SpecMismatch` for noise that this layout cannot express.
        """
        flat = noise.reshape(len(noise), -1).astype(np.float32)
        steer: Array = flat[:, : self.noise_size] / np.float32(self.noise_bound)
        if not np.allclose(steer @ self.noise_map, flat, atol=1e-5):
            raise SpecMismatch("the noise differs from step to step, but the layout ties it; use noise_layout: full")
        return steer

    def normalise(self, chunks: Array) -> Array:
        """Chunks [B, T, A] in SI units -> [B, T*A] float32, [-1, 1] over the action space."""
        flat = chunks.reshape(len(chunks), -1).astype(np.float32)
        normalised: Array = (flat - self.action_mid) / self.action_half
        return normalised


def _noise_map(shape: tuple[int, ...], layout: str) -> Array:
    """[N, W] float32, entries 0 and 1."""
    if not shape:
        raise SpecMismatch("this policy takes no noise, so it cannot be steered by noise; expected a noise shape")
    entries: Array = np.eye(math.prod(shape), dtype=np.float32)
    if layout == "full":
        return entries
    steps, width = math.prod(shape[:-1]), shape[-1]
    tied: Array = entries.reshape(steps, width, -1).sum(0)
    return tied


def _residual_map(spec: PolicySpec, config: MethodConfig) -> Array:
    """[R, T*A] float32, SI units."""
    steps, size = spec.horizon, spec.action_space.size
    if config.residual_layout == "none":
        return np.zeros((0, steps * size), np.float32)
    if len(config.residual_scale) != size:
        raise SpecMismatch(
            f"residual_scale: expected {size} entries ({', '.join(spec.action_space.names)}), "
            f"got {len(config.residual_scale)}"
        )
    scale = np.asarray(config.residual_scale, np.float32)
    per_step = np.diag(scale)[scale > 0]  # [entries that move, A]
    if config.residual_layout == "constant":
        return np.tile(per_step, (1, steps))
    return np.kron(np.eye(steps, dtype=np.float32), per_step)
