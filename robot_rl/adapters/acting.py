"""Adapters as the actor sees them: immutable versions, numpy only.

`BaseAdapter` is the frozen policy as it is (w ~ N(0, I)), for warm-up and for the base line. `SteeringAdapter` runs the
squashed Gaussian actor of a learnt version. Both give the steer vector that replay stores and what it means to the
decoder (`layout.SteeringLayout`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.adapters.files import numbers, read_weights
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import BadObservation, IntegrityError, SpecMismatch
from robot_rl.protocols import Adapter
from robot_rl.types import Array, Context, PolicySpec, Steering

LOG_STD_LOW, LOG_STD_HIGH = -5.0, 2.0
"""Range of the actor's log standard deviation before squashing."""
NORM_EPSILON = 1e-5


class NumpyActor:
    """An actor network, features [B, F] -> mean and log standard deviation [B, S] of the steer before tanh.

    Weights: `layer.i.weight` [in, out] and `layer.i.bias` [out]; hidden layers are linear, layer norm (without gain)
    when `layer_norm`, ReLU; the last layer gives mean and raw log-std side by side.
    """

    def __init__(self, weights: Mapping[str, Array], *, layer_norm: bool) -> None:
        count = sum(name.endswith(".weight") for name in weights)
        self._layers = [(weights[f"layer.{i}.weight"], weights[f"layer.{i}.bias"]) for i in range(count)]
        self._layer_norm = layer_norm

    @property
    def features(self) -> int:
        """F."""
        return int(self._layers[0][0].shape[0])

    def __call__(self, features: Array) -> tuple[Array, Array]:
        x = features.astype(np.float32)
        for weight, bias in self._layers[:-1]:
            x = x @ weight + bias
            if self._layer_norm:
                x = x - x.mean(-1, keepdims=True)
                x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(NORM_EPSILON))
            x = np.maximum(x, 0)
        weight, bias = self._layers[-1]
        mean, raw = np.split(x @ weight + bias, 2, axis=-1)
        return mean, LOG_STD_LOW + (LOG_STD_HIGH - LOG_STD_LOW) / 2 * (np.tanh(raw) + 1)


@dataclass(frozen=True)
class BaseAdapter:
    """Noise from N(0, I), no residual; `explore` changes nothing, for the frozen policy is random by itself.

    The noise is drawn in the layout's own dimensions, so that the steer names it: give the method's layout for warm-up
    and `SteeringLayout.plain(spec)` for the base line. A draw beyond b_W is a steer beyond 1, and is executed.
    """

    layout: SteeringLayout
    version: int = 0

    def steer(self, context: Context, rng: np.random.Generator, *, explore: bool) -> Steering:
        """For a context of batch 1."""
        steer = np.zeros((1, self.layout.size), np.float32)
        steer[0, : self.layout.noise_size] = rng.standard_normal(self.layout.noise_size) / self.layout.noise_bound
        noise, residual = self.layout.split(steer)
        return Steering(steer=steer[0], noise=noise[0], residual=residual[0])


@dataclass(frozen=True)
class SteeringAdapter:
    """A learnt version: steer = tanh(mean + std * N(0, I)) when exploring, tanh(mean) otherwise.

    While exploring, the residual is applied with probability `gate` (USR eq. 5, Policy Decorator's progressive
    exploration). Where the gate is shut the residual entries of the steer are 0: the steer says what was done.
    """

    actor: NumpyActor
    layout: SteeringLayout
    version: int
    gate: float
    """eps = min(chunks / H, 1)."""

    def steer(self, context: Context, rng: np.random.Generator, *, explore: bool) -> Steering:
        """For a context of batch 1. Draws the same amount from `rng` whatever the gate."""
        if context.features.shape != (1, self.actor.features):
            raise BadObservation(f"expected features [1, {self.actor.features}], got {list(context.features.shape)}")
        mean, log_std = self.actor(context.features)
        steer = np.tanh(mean)
        if explore:
            steer = np.tanh(mean + np.exp(log_std) * rng.standard_normal(mean.shape).astype(np.float32))
            if rng.random() >= self.gate:
                steer[:, self.layout.noise_size :] = 0
        noise, residual = self.layout.split(steer)
        return Steering(steer=steer[0], noise=noise[0], residual=residual[0])


def gate(chunks: int, horizon: int) -> float:
    """The chance eps = min(chunks / H, 1) of applying the residual after `chunks` executed chunks; H = 0 is 1."""
    return 1.0 if horizon <= 0 else min(chunks / horizon, 1.0)


def make_adapter(arrays: Mapping[str, Array], manifest: Mapping[str, Any], spec: PolicySpec) -> Adapter:
    """The adapter that a manifest and its arrays describe. Raises `SpecMismatch` for another policy's adapter."""
    if manifest["spec_hash"] != spec.hash:
        raise SpecMismatch(
            f"adapter {manifest['version']} was trained on the policy with spec hash {manifest['spec_hash'][:12]}, "
            f"this policy ({spec.policy_id}) has {spec.hash[:12]}; use the policy of its run"
        )
    config = MethodConfig.model_validate(manifest["config"])
    layout = SteeringLayout(spec, config)
    if manifest["warmup"]:
        return BaseAdapter(layout, manifest["version"])
    return SteeringAdapter(
        actor=NumpyActor(arrays, layer_norm=config.layer_norm),
        layout=layout,
        version=manifest["version"],
        gate=gate(manifest["chunks"], config.residual_horizon),
    )


def load_adapter(directory: Path, version: int, spec: PolicySpec) -> Adapter:
    """Version `version` of a run's `adapters/`. Raises `IntegrityError` or `SpecMismatch`."""
    arrays, manifest = read_weights(directory, version)
    return make_adapter(arrays, manifest, spec)


def newest_verified(directory: Path, spec: PolicySpec) -> Adapter | None:
    """The newest version whose files are what their manifest says, or None. Raises `SpecMismatch`."""
    for version in reversed(numbers(directory)):
        try:
            return load_adapter(directory, version, spec)
        except IntegrityError:
            continue  # an older version that verifies is better than none
    return None
