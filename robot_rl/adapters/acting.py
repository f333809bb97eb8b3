"""Adapters as the actor sees them: immutable versions, numpy only.

`BaseAdapter` is the frozen policy as it is (w ~ N(0, I)), for warm-up and for the base line. `SteeringAdapter` runs the
squashed Gaussian actor of a learnt version; `adapters.kinds` has those that act otherwise. All give the steer vector
that replay stores and what it means to the decoder (`layout.SteeringLayout`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from robot_rl.adapters.actor import NumpyActor, NumpyPerturbation
from robot_rl.adapters.files import read_weights
from robot_rl.adapters.kinds import ChunkAdapter, LatentAdapter, PerturbationAdapter, base_noise, features_of, latent_of
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import SpecMismatch, nearest
from robot_rl.methods import METHODS, method_of
from robot_rl.protocols import Adapter
from robot_rl.types import Array, Context, PolicySpec, Steering


@dataclass(frozen=True)
class BaseAdapter:
    """Noise from N(0, I), no residual; `explore` changes nothing, for the frozen policy is random by itself.

    The noise is drawn in the layout's own dimensions, so that the steer names it: give the method's layout for warm-up
    and `SteeringLayout.plain(spec)` for the base line. A draw beyond b_W is a steer beyond 1, and is executed. A layout
    that steers the latent decodes with z itself: what dz = 0 means.
    """

    layout: SteeringLayout
    version: int = 0

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        """For a context of batch 1."""
        steer = np.zeros((1, self.layout.size), np.float32)
        steer[0, : self.layout.noise_size] = rng.standard_normal(self.layout.noise_size) / self.layout.noise_bound
        noise, residual = self.layout.split(steer)
        return Steering(
            steer=steer[0],
            noise=noise[0] if self.layout.noise_size else base_noise(self.layout.spec, rng),
            residual=residual[0],
            latent=latent_of(context)[0] if self.layout.latent_size else None,
        )


@dataclass(frozen=True)
class SteeringAdapter:
    """A learnt version: steer = tanh(mean + std * N(0, I)) when exploring, tanh(mean) otherwise.

    While exploring, the residual is applied with probability `gate` (USR eq. 5, Policy Decorator's progressive
    exploration). Where the gate is shut the residual entries of the steer are 0: the steer says what was done. Noise
    that the layout does not steer is the base policy's own, in evaluation too.
    """

    actor: NumpyActor
    layout: SteeringLayout
    version: int
    gate: float
    """eps = min(chunks / H, 1)."""

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        """For a context of batch 1. Draws the same amount from `rng` whatever the gate."""
        steer, draw = self.actor.sample(features_of(context), rng, explore=explore, previous=previous)
        if explore and rng.random() >= self.gate:
            steer[:, self.layout.residual_part] = 0
        noise, residual = self.layout.split(steer)
        return Steering(
            steer=steer[0],
            noise=noise[0] if self.layout.noise_size else base_noise(self.layout.spec, rng),
            residual=residual[0],
            draw=draw,
        )


def gate(chunks: int, horizon: int) -> float:
    """The chance eps = min(chunks / H, 1) of applying the residual after `chunks` executed chunks; H = 0 is 1."""
    return 1.0 if horizon <= 0 else min(chunks / horizon, 1.0)


def make_adapter(arrays: Mapping[str, Array], manifest: Mapping[str, Any], spec: PolicySpec) -> Adapter:
    """The adapter that a manifest and its arrays describe.

    Raises `SpecMismatch` for another policy's adapter, and for one with settings that this version does not know.
    """
    if manifest["spec_hash"] != spec.hash:
        raise SpecMismatch(
            f"adapter {manifest['version']} was trained on the policy with spec hash {manifest['spec_hash'][:12]}, "
            f"this policy ({spec.policy_id}) has {spec.hash[:12]}; use the policy of its run"
        )
    method = method_of(manifest["method"])
    if method not in METHODS:
        raise SpecMismatch(f"adapter {manifest['version']}: no method {manifest['method']!r}{nearest(method, METHODS)}")
    entry = METHODS[method]
    try:
        config = MethodConfig.model_validate(manifest["config"])
    except ValidationError as error:
        first = error.errors()[0]
        raise SpecMismatch(
            f"adapter {manifest['version']}: its setting {'.'.join(map(str, first['loc']))} is not known here "
            f"({first['msg']}): it was written by another version of robot_rl; run that one"
        ) from error
    layout, version = SteeringLayout(spec, config), manifest["version"]
    if manifest["warmup"] and not entry.gated_warmup:
        return BaseAdapter(layout, version)
    if entry.kind == "perturbation":
        return PerturbationAdapter(NumpyPerturbation(arrays, layer_norm=config.layer_norm), layout, version)
    actor = NumpyActor(arrays, layer_norm=config.layer_norm, correlation=config.exploration_correlation)
    if entry.kind == "latent":
        return LatentAdapter(actor, layout, version)
    if entry.kind == "chunk":
        return ChunkAdapter(actor, layout, version)
    return SteeringAdapter(actor, layout, version, gate(manifest["chunks"], config.residual_horizon))


def load_adapter(directory: Path, version: int, spec: PolicySpec) -> Adapter:
    """Version `version` of a run's `adapters/`. Raises `IntegrityError` or `SpecMismatch`."""
    arrays, manifest = read_weights(directory, version)
    return make_adapter(arrays, manifest, spec)
