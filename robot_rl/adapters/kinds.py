"""Adapters that do not act by a squashed steer of noise and residual: those of ZPRL, LP-DS and RLPD; numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_rl.adapters.actor import NumpyActor, NumpyPerturbation
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import BadObservation
from robot_rl.types import Array, Context, PolicySpec, Steering


@dataclass(frozen=True)
class LatentAdapter:
    """ZPRL: z~ = z + lambda dz, dz from an actor that sees the features and the sampled z (eq. 7)."""

    actor: NumpyActor
    layout: SteeringLayout
    version: int

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        """For a context of batch 1."""
        z = latent_of(context)
        seen = np.concatenate([features_of(context), z], 1)
        steer, draw = self.actor.sample(seen, rng, explore=explore, previous=previous)
        return Steering(
            steer=steer[0],
            noise=base_noise(self.layout.spec, rng),
            residual=self.layout.split(steer)[1][0],
            latent=(z + self.layout.latent_shift(steer))[0],
            draw=draw,
        )


@dataclass(frozen=True)
class PerturbationAdapter:
    """LP-DS: w = eps + Delta(s), eps ~ N(0, I) also in evaluation: the adapted policy keeps its diversity (eq. 4)."""

    shift: NumpyPerturbation
    layout: SteeringLayout
    version: int

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        """For a context of batch 1; the steer is w / b_W, and may lie beyond 1."""
        base = rng.standard_normal((1, self.layout.noise_size)) / self.layout.noise_bound
        steer = base.astype(np.float32) + self.shift(features_of(context))
        noise, residual = self.layout.split(steer)
        return Steering(steer=steer[0], noise=noise[0], residual=residual[0])


@dataclass(frozen=True)
class ChunkAdapter:
    """RLPD: the whole chunk is the actor's own, around the middle of the action range; the base policy has no say."""

    actor: NumpyActor
    layout: SteeringLayout
    version: int

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        """For a context of batch 1; `chunk` is what is executed."""
        steer, draw = self.actor.sample(features_of(context), rng, explore=explore, previous=previous)
        residual = self.layout.split(steer)[1][0]
        return Steering(
            steer=steer[0],
            noise=base_noise(self.layout.spec, rng),
            residual=np.zeros_like(residual),
            chunk=self.layout.action_mid.reshape(residual.shape) + residual,
            draw=draw,
        )


def base_noise(spec: PolicySpec, rng: np.random.Generator) -> Array:
    """The base policy's own noise [*noise_shape] ~ N(0, I) float32; 0 for a policy that takes none."""
    if not spec.noise_shape:
        return np.zeros((), np.float32)
    return rng.standard_normal(spec.noise_shape).astype(np.float32)


def latent_of(context: Context) -> Array:
    """Z [1, Z]. Raises `BadObservation` for a context without one."""
    if context.z is None:
        raise BadObservation("expected a context with a bottleneck latent z, got none; use a policy that has one")
    return context.z


def features_of(context: Context) -> Array:
    """Features [1, F]. Raises `BadObservation` for another batch than 1."""
    if len(context.features) != 1:
        raise BadObservation(f"expected features of one observation, got {list(context.features.shape)}")
    return context.features
