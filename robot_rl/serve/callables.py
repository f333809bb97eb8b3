"""Any function that maps what a robot sees to a chunk, as a frozen policy.

    act({"tcp_pose": [7], "images.front": [H, W, 3], ...}, noise) -> [T, A] in the spec's units

`noise` has the spec's shape, or is None for a policy that takes none (Policy Decorator and other residual methods need
none). The values are those that the spec names. A function that accepts noise and ignores it is found by the
conformance suite (`robot_rl.testing.policy`) and by `robot-rl preflight`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from robot_rl.errors import BadAction, ConfigError, SpecMismatch
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.observations import check_observation, value_of

Values = Mapping[str, Array]
Act = Callable[[Values, Array | None], Array]
Features = Callable[[Values], Array]


class CallablePolicy:
    """`act` behind the two calls; one call of it for each row.

    `features` gives the F numbers that an adapter sees; by default all values but pictures, one after the other. Raises
    `ConfigError` for a spec that it cannot keep, `SpecMismatch` when `act` or `features` give another shape.
    """

    def __init__(self, act: Act, spec: PolicySpec, features: Features | None = None) -> None:
        if spec.latent is not None or spec.decodes_from_features:
            raise ConfigError(
                "a callable has no latent and needs what it sees: expected latent None, from features False"
            )
        self.spec = spec
        self._act, self._features = act, features or state_of

    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> features [B, F]. Raises `BadObservation`."""
        for observation in observations:
            check_observation(observation, self.spec)
        seen = tuple({key: value_of(each, key) for key in self.spec.observation} for each in observations)
        features = [np.asarray(self._features(values), np.float32) for values in seen]
        for each in features:
            if each.shape != (self.spec.features,):
                raise SpecMismatch(f"features: expected ({self.spec.features},) as the spec says, got {each.shape}")
        return Context(np.stack(features), state=seen)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, *noise_shape] -> chunks [B, T, A] float32."""
        if latent is not None:
            raise BadAction("latent: a callable has none to decode with")
        if len(context.state) != len(noise):
            raise SpecMismatch(f"expected a context of {len(noise)} that this policy encoded, got {len(context.state)}")
        given = noise if self.spec.noise_shape else [None] * len(noise)
        return np.stack([self._chunk(values, each) for values, each in zip(context.state, given, strict=True)])

    def _chunk(self, values: Values, noise: Array | None) -> Array:
        chunk = np.array(self._act(values, noise), np.float32)
        expected = (self.spec.horizon, self.spec.action_space.size)
        if chunk.shape != expected:
            raise SpecMismatch(f"act: expected a chunk {expected} as the spec says, got {chunk.shape}")
        return chunk


def state_of(values: Values) -> Array:
    """All values but pictures, in the order of their names, as one vector."""
    parts = [values[key].reshape(-1) for key in sorted(values) if not key.startswith("images.")]
    return np.concatenate(parts) if parts else np.zeros(0)
