"""openpi's policies (`openpi.policies.policy.Policy`) as frozen policies; to be used in openpi's environment.

    from openpi.policies import policy_config
    from openpi.training import config

    def make():
        trained = config.get_config("pi05_droid")
        policy = policy_config.create_trained_policy(trained, "gs://openpi-assets/checkpoints/pi05_droid")
        return wrap(policy, SPEC, {"images.front": "observation/exterior_image_1_left", ...}, "open the lid")

then `python -m robot_rl.serve my_module:make`. `infer(obs, *, noise=)` takes noise [action horizon, action dimension of
the model]; that is the spec's noise shape, while its chunks are what openpi's output transforms make of the actions.
`infer` takes one observation at a time, so a call of several rows is several calls of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from robot_rl.errors import ConfigError, SpecMismatch, nearest
from robot_rl.serve.callables import CallablePolicy, Features, Values
from robot_rl.types import Array, PolicySpec


class OpenPiPolicy(Protocol):
    """What is used of openpi's `Policy`."""

    def infer(self, obs: dict[str, Any], *, noise: Array | None = None) -> dict[str, Any]: ...


def wrap(
    policy: OpenPiPolicy,
    spec: PolicySpec,
    keys: Mapping[str, str],
    prompt: str | None = None,
    *,
    features: Features | None = None,
    actions: Callable[[Array], Array] = lambda actions: actions,
) -> CallablePolicy:
    """`policy` with `spec`, whose keys are called `keys` in openpi's observations.

    `features` reads what an adapter sees from the values that the spec names (by default the state); `actions` turns
    openpi's chunk into the spec's action space, where the two differ. Raises `ConfigError` for keys that are not the
    spec's.
    """
    if keys.keys() != spec.observation.keys():
        wrong = sorted(keys.keys() ^ spec.observation.keys())[0]
        raise ConfigError(f"keys: {wrong!r} is in the spec or in the keys alone{nearest(wrong, spec.observation)}")

    def act(values: Values, noise: Array | None) -> Array:
        observation: dict[str, Any] = {keys[name]: value for name, value in values.items()}
        if prompt is not None:
            observation["prompt"] = prompt
        answer = policy.infer(observation, noise=noise)
        if "actions" not in answer:
            raise SpecMismatch(f"openpi's infer: expected 'actions', got {sorted(answer)}")
        return actions(np.asarray(answer["actions"]))[: spec.horizon]

    return CallablePolicy(act, spec, features)
