"""What really comes out of somebody else's policy: asked three times when it is loaded, twice with the same noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import PolicySpec
from robot_rl.wire.observations import example_observation

SAME = 0.01
"""Of what other noise moves a chunk, the share that the same noise may: some kernels add up in another order."""


def tried(policy: FrozenPolicy, what: str, instead: str) -> PolicySpec:
    """The spec of `policy` with the horizon, features and determinism that it has.

    Raises `ConfigError`, which begins with `what`, if it gives no chunk, or none that is made by the noise: then
    `instead` says how to serve it all the same.
    """
    spec, rng = policy.spec, np.random.default_rng(0)
    one, other = rng.standard_normal((2, 1, *spec.noise_shape)).astype(np.float32)
    try:
        context = policy.encode([example_observation(spec)])
        first, again, changed = (policy.decode(context, noise) for noise in (one, one, other))
    except RobotRLError:
        raise
    except Exception as error:  # whatever it raises: who loads it is told which policy and why
        raise ConfigError(f"{what} gives no chunk: {type(error).__name__}: {error}") from error
    drift, spread = (float(np.abs(chunk - first).max()) for chunk in (again, changed))
    if spec.noise_shape and not (spread > 0 and drift <= SAME * spread):
        raise ConfigError(
            f"{what} accepts noise and ignores it: other noise moved its chunk by {spread:.3g}, the same noise by "
            f"{drift:.3g}. To serve it for methods that steer no noise, {instead}"
        )
    _, horizon, size = first.shape
    if size != spec.action_space.size:
        raise ConfigError(f"{what}: expected actions of {spec.action_space.size}, got {size}")
    return replace(spec, horizon=horizon, features=context.features.shape[1], deterministic=bool(drift == 0.0))
