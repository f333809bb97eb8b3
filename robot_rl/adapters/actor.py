"""Actor networks in numpy, as a robot runs them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.errors import BadObservation
from robot_rl.types import Array, Steering

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

    def __init__(self, weights: Mapping[str, Array], *, layer_norm: bool, correlation: float = 0.0) -> None:
        """`correlation`: of an episode's draws, one chunk's and the next's (`MethodConfig.exploration_correlation`)."""
        super().__init__(weights, layer_norm=layer_norm)
        self._correlation = np.float32(correlation)

    def __call__(self, features: Array) -> tuple[Array, Array]:
        mean, raw = np.split(self.outputs(features), 2, axis=-1)
        return mean, LOG_STD_LOW + (LOG_STD_HIGH - LOG_STD_LOW) / 2 * (np.tanh(raw) + 1)

    def sample(
        self, features: Array, rng: np.random.Generator, *, explore: bool, previous: Steering | None
    ) -> tuple[Array, Array | None]:
        """(steer [1, S], draw [S]): tanh(mean + std * draw), draw ~ N(0, I), when exploring; else (tanh(mean), None).

        After a decision of the same episode that explored, the draw is rho times that one's and sqrt(1 - rho^2) times a
        fresh one: N(0, I) again. Draws the same amount from `rng` whatever rho.
        """
        mean, log_std = self(features)
        if not explore:
            return np.tanh(mean), None
        draw = rng.standard_normal((mean.shape[1],)).astype(np.float32)
        if previous is not None and previous.draw is not None:
            draw = self._correlation * previous.draw + np.sqrt(1 - self._correlation**2) * draw
        return np.tanh(mean + np.exp(log_std) * draw), draw


class NumpyPerturbation(NumpyNetwork):
    """Features [B, F] -> Delta / b_W [B, N] in [-1, 1], the deterministic shift of LP-DS."""

    def __call__(self, features: Array) -> Array:
        shift: Array = np.tanh(self.outputs(features))
        return shift
