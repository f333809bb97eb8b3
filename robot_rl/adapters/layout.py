"""What the entries of a steer vector mean: linear maps from [-1, 1]^S to noise, action residual and latent shift.

An actor puts out `steer = [w / b_W, a_res, dz]`, every entry in [-1, 1] (USR eq. 2, ZPRL eq. 7); most methods have one
or two of the three. The first N entries span the decoder's noise within [-b_W, b_W]; the next R entries span the
residual within +-alpha, per control step and in SI units; the last L entries shift as many entries of the bottleneck
latent by +-lambda.

    noise    = steer[:N] @ noise_map        noise_map [N, W], W = entries of one decoder noise
    residual = steer[N:N+R] @ residual_map  residual_map [R, T*A], SI units
    shift    = steer[N+R:] @ latent_map     latent_map [L, Z], in z's units; L = Z, or r first entries of it

`full` gives every noise entry its own dimension; `repeat` ties one vector over the steps of the chunk, which some
backbones like and others do not survive; `low_rank` spans r random directions, scaled so that w ~ N(0, I_r) has the
norm that N(0, I_W) has on average (as `repeat` has). With `none` the noise is not steered (N = 0) and stays N(0, I).
A `constant` residual is one vector per chunk; an action entry whose alpha is 0 takes no dimension.
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
        self._spans_directions = config.noise_layout == "low_rank"
        self.noise_map = _noise_map(spec.noise_shape, config) * np.float32(config.noise_bound)
        """[N, W] float32."""
        self.residual_map = _residual_map(spec, config)
        """[R, T*A] float32, SI units."""
        self.latent_map = _latent_map(spec, config)
        """[L, Z] float32."""
        low, high = (np.asarray(bound, np.float32) for bound in (spec.action_space.low, spec.action_space.high))
        self.action_mid = np.tile((high + low) / 2, spec.horizon)
        """[T*A] SI units: the chunk whose normalised form is 0."""
        self.action_half = np.tile((high - low) / 2, spec.horizon)
        """[T*A] SI units per normalised unit."""

    @classmethod
    def plain(cls, spec: PolicySpec) -> SteeringLayout:
        """The frozen policy as it is: untied N(0, I) noise, if it takes any, and no residual."""
        return cls(spec, MethodConfig(noise_layout="full" if spec.noise_shape else "none", noise_bound=1.0))

    @property
    def noise_size(self) -> int:
        """N, steer entries that choose the noise."""
        return int(self.noise_map.shape[0])

    @property
    def residual_size(self) -> int:
        """R, steer entries that choose the residual."""
        return int(self.residual_map.shape[0])

    @property
    def latent_size(self) -> int:
        """L, steer entries that shift the latent."""
        return int(self.latent_map.shape[0])

    @property
    def size(self) -> int:
        """S = N + R + L."""
        return self.noise_size + self.residual_size + self.latent_size

    @property
    def noise_part(self) -> slice:
        """Where in a steer the entries lie that choose the noise."""
        return slice(0, self.noise_size)

    @property
    def residual_part(self) -> slice:
        """Where those of the residual lie."""
        return slice(self.noise_size, self.noise_size + self.residual_size)

    @property
    def latent_part(self) -> slice:
        """Where those of the latent lie."""
        return slice(self.size - self.latent_size, self.size)

    @property
    def chunk_size(self) -> int:
        """T*A, entries of a flat chunk."""
        return int(self.action_half.size)

    def split(self, steer: Array) -> tuple[Array, Array]:
        """Steer [B, S] -> noise [B, *noise_shape] (0 if not steered) and residual [B, T, A] in SI units, float32."""
        if steer.ndim != 2 or steer.shape[1] != self.size:
            raise BadAction(f"expected steer [B, {self.size}], got {list(steer.shape)}")
        noise = steer[:, self.noise_part].astype(np.float32) @ self.noise_map
        residual = steer[:, self.residual_part].astype(np.float32) @ self.residual_map
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
        if self._spans_directions:
            steer = flat @ np.linalg.pinv(self.noise_map)
        if not np.allclose(steer @ self.noise_map, flat, atol=1e-5):
            raise SpecMismatch("the noise lies outside of what the layout spans; use noise_layout: full")
        return steer

    def latent_shift(self, steer: Array) -> Array:
        """Steer [B, S] -> lambda dz [B, Z] float32."""
        shift: Array = steer[:, self.latent_part].astype(np.float32) @ self.latent_map
        return shift

    def normalise(self, chunks: Array) -> Array:
        """Chunks [B, T, A] in SI units -> [B, T*A] float32, [-1, 1] over the action space."""
        flat = chunks.reshape(len(chunks), -1).astype(np.float32)
        normalised: Array = (flat - self.action_mid) / self.action_half
        return normalised


def _noise_map(shape: tuple[int, ...], config: MethodConfig) -> Array:
    """[N, W] float32: rows are orthogonal, and the squares of each column sum to 1 (on average, for low_rank)."""
    width = math.prod(shape)
    if config.noise_layout == "none":
        return np.zeros((0, width), np.float32)
    if not shape:
        raise SpecMismatch("this policy takes no noise, so it cannot be steered by noise; expected a noise shape")
    entries: Array = np.eye(width, dtype=np.float32)
    if config.noise_layout == "full":
        return entries
    if config.noise_layout == "low_rank":
        if config.noise_rank > width:
            raise SpecMismatch(
                f"noise_rank: expected at most {width}, the entries of the noise, got {config.noise_rank}"
            )
        draw = np.random.default_rng(config.noise_seed).standard_normal((width, config.noise_rank))
        basis = np.linalg.qr(draw)[0].T
        scaled: Array = (basis * math.sqrt(width / config.noise_rank)).astype(np.float32)
        return scaled
    steps, last = math.prod(shape[:-1]), shape[-1]
    tied: Array = entries.reshape(steps, last, -1).sum(0)
    return tied


def _residual_map(spec: PolicySpec, config: MethodConfig) -> Array:
    """[R, T*A] float32, SI units."""
    steps, size = spec.horizon, spec.action_space.size
    if config.residual_layout == "none":
        return np.zeros((0, steps * size), np.float32)
    if config.residual_scale == "full":
        alpha = tuple((high - low) / 2 for low, high in zip(spec.action_space.low, spec.action_space.high, strict=True))
    else:
        alpha = config.residual_scale
    if len(alpha) != size:
        raise SpecMismatch(
            f"residual_scale: expected {size} entries ({', '.join(spec.action_space.names)}), got {len(alpha)}"
        )
    scale = np.asarray(alpha, np.float32)
    per_step = np.diag(scale)[scale > 0]  # [entries that move, A]
    if config.residual_layout == "constant":
        return np.tile(per_step, (1, steps))
    return np.kron(np.eye(steps, dtype=np.float32), per_step)


def _latent_map(spec: PolicySpec, config: MethodConfig) -> Array:
    """[L, Z] float32: lambda on the diagonal."""
    if not config.latent_scale:
        return np.zeros((0, spec.latent or 0), np.float32)
    if spec.latent is None:
        raise SpecMismatch("this policy has no bottleneck latent to steer; expected a policy with one, see `pretrain`")
    if config.latent_rank > spec.latent:
        raise SpecMismatch(f"latent_rank: expected at most {spec.latent}, the entries of z, got {config.latent_rank}")
    entries = np.eye(config.latent_rank or spec.latent, spec.latent, dtype=np.float32)
    scaled: Array = np.float32(config.latent_scale) * entries
    return scaled
