"""Actor networks in numpy, as a robot runs them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.errors import BadObservation
from robot_rl.types import Array

LOG_STD_LOW, LOG_STD_HIGH = -5.0, 2.0
"""Range of the actor's log standard deviation before squashing."""
NORM_EPSILON = 1e-5


class NumpyNetwork:
    """Inputs [B, I] -> outputs [B, O].

    Weights: `layer.i.weight` [in, out] and `layer.i.bias` [out]; hidden layers are linear, layer norm (without gain)
    when `layer_norm`, ReLU.
    """

    def __init__(self, weights: Mapping[str, Array], *, layer_norm: bool) -> None:
        count = sum(name.endswith(".weight") for name in weights)
        self._layers = [(weights[f"layer.{i}.weight"], weights[f"layer.{i}.bias"]) for i in range(count)]
        self._layer_norm = layer_norm

    @property
    def features(self) -> int:
        """I."""
        return int(self._layers[0][0].shape[0])

    def outputs(self, features: Array) -> Array:
        """[B, O] float32. Raises `BadObservation` for inputs of another size."""
        if features.ndim != 2 or features.shape[1] != self.features:
            raise BadObservation(f"expected features [{len(features)}, {self.features}], got {list(features.shape)}")
        x = features.astype(np.float32)
        for weight, bias in self._layers[:-1]:
            x = x @ weight + bias
            if self._layer_norm:
                x = x - x.mean(-1, keepdims=True)
                x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(NORM_EPSILON))
            x = np.maximum(x, 0)
        weight, bias = self._layers[-1]
        out: Array = x @ weight + bias
        return out


class NumpyActor(NumpyNetwork):
    """Features [B, F] -> mean and log standard deviation [B, S] of the steer before tanh.

    The last layer gives mean and raw log-std side by side.
    """

    def __call__(self, features: Array) -> tuple[Array, Array]:
        mean, raw = np.split(self.outputs(features), 2, axis=-1)
        return mean, LOG_STD_LOW + (LOG_STD_HIGH - LOG_STD_LOW) / 2 * (np.tanh(raw) + 1)

    def sample(self, features: Array, rng: np.random.Generator, *, explore: bool) -> Array:
        """Steer [B, S]: tanh(mean + std * N(0, I)) when exploring, tanh(mean) otherwise."""
        mean, log_std = self(features)
        if explore:
            mean = mean + np.exp(log_std) * rng.standard_normal(mean.shape).astype(np.float32)
        steer: Array = np.tanh(mean)
        return steer


class NumpyPerturbation(NumpyNetwork):
    """Features [B, F] -> Delta / b_W [B, N] in [-1, 1], the deterministic shift of LP-DS."""

    def __call__(self, features: Array) -> Array:
        shift: Array = np.tanh(self.outputs(features))
        return shift
