"""openpi's policies (`openpi.policies.policy.Policy`) as frozen policies; to be used in openpi's environment.

A trained policy is served by `python -m robot_rl.serve openpi:SETTINGS.json` (`openpi_settings.py` shows the file), or
from Python:

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

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robot_rl.errors import ConfigError, SpecMismatch, nearest
from robot_rl.serve.callables import CallablePolicy, Features, Values
from robot_rl.serve.openpi_features import prefix_features
from robot_rl.serve.openpi_settings import OpenPiSettings, read_settings
from robot_rl.serve.trying import tried
from robot_rl.types import ActionSpace, Array, PolicySpec
from robot_rl.wire.observations import example_observation, value_of


class OpenPiPolicy(Protocol):
    """What is used of openpi's `Policy`."""

    def infer(self, obs: dict[str, Any], *, noise: Array | None = None) -> dict[str, Any]: ...


def load(path: Path) -> CallablePolicy:
    """The policy that the settings in `path` name. openpi fetches its checkpoint if it is not on this machine yet.

    Raises `ConfigError` that says what is missing, what openpi raised, or that noise is not what makes its chunks.
    """
    settings = read_settings(path)
    try:
        from openpi.policies import policy_config
        from openpi.shared import download
        from openpi.training import config
    except ImportError as error:
        raise ConfigError(
            f"{error}: openpi:SETTINGS.json is served from openpi's environment, install this one there"
        ) from error
    steps = {} if settings.denoising_steps is None else {"num_steps": settings.denoising_steps}
    try:
        trained = config.get_config(settings.config)
        folder = Path(download.maybe_download(settings.checkpoint))
        policy = policy_config.create_trained_policy(trained, folder, sample_kwargs=steps or None)
    except Exception as error:  # whatever openpi raises: who loads it is told which checkpoint and why
        raise ConfigError(f"{path}: openpi cannot load it: {type(error).__name__}: {error}") from error
    spec = _spec(trained.model, settings, f"openpi-{settings.config}-{_digest(folder, settings)}")
    features = None
    if settings.features == "prefix":
        features = prefix_features(policy, lambda values: _inputs(values, _parts(settings.keys), settings.prompt))
        spec = _with_size_of(features, spec, path)
    wrapped = wrap(policy, spec, settings.keys, settings.prompt, features=features)
    wrapped.spec = tried(wrapped, f"openpi's {settings.config}", f'write "noise": false into {path.name}')
    return wrapped


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

    Keys of ours that have the same there are one vector, in their order. `features` reads what an adapter sees from the
    values that the spec names (by default the state); `actions` turns openpi's chunk into the spec's action space,
    where the two differ. Raises `ConfigError` for keys that are not the spec's.
    """
    if keys.keys() != spec.observation.keys():
        wrong = sorted(keys.keys() ^ spec.observation.keys())[0]
        raise ConfigError(f"keys: {wrong!r} is in the spec or in the keys alone{nearest(wrong, spec.observation)}")
    parts = _parts(keys)

    def act(values: Values, noise: Array | None) -> Array:
        answer = policy.infer(
            _inputs(values, parts, prompt), noise=None if noise is None else np.array(noise)
        )  # one that may be written
        if "actions" not in answer:
            raise SpecMismatch(f"openpi's infer: expected 'actions', got {sorted(answer)}")
        return actions(np.asarray(answer["actions"]))[: spec.horizon]

    return CallablePolicy(act, spec, features)


def _parts(keys: Mapping[str, str]) -> dict[str, list[str]]:
    """Of each of openpi's keys what it is made of."""
    parts: dict[str, list[str]] = {}
    for ours, theirs in keys.items():
        parts.setdefault(theirs, []).append(ours)
    return parts


def _inputs(values: Values, parts: Mapping[str, list[str]], prompt: str | None) -> dict[str, Any]:
    """An observation as openpi has it."""
    observation: dict[str, Any] = {} if prompt is None else {"prompt": prompt}
    for theirs, ours in parts.items():
        whole = [np.asarray(values[part]) for part in ours]
        observation[theirs] = whole[0] if len(whole) == 1 else np.concatenate([part.reshape(-1) for part in whole])
    return observation


def _spec(model: Any, settings: OpenPiSettings, policy_id: str) -> PolicySpec:
    """`model` is the config's: what its noise is like. Raises `ConfigError`."""
    horizon, said = int(model.action_horizon), settings.action
    if settings.horizon is not None and settings.horizon > horizon:
        raise ConfigError(f"horizon: openpi's {settings.config} plans {horizon} steps, got {settings.horizon}")
    shapes = settings.shapes
    return PolicySpec(
        policy_id=policy_id,
        observation=shapes,
        action_space=ActionSpace(said.kind, said.names or (), said.units or (), said.low or (), said.high or ()),
        horizon=settings.horizon or horizon,
        step_s=settings.step_s,
        noise_shape=(horizon, int(model.action_dim)) if settings.noise else (),
        features=sum(int(np.prod(shape)) for key, shape in shapes.items() if not key.startswith("images.")),
        latent=None,
        deterministic=True,
        decodes_from_features=False,
    )


def _with_size_of(features: Features, spec: PolicySpec, path: Path) -> PolicySpec:
    """The spec with as many features as there are. Raises `ConfigError`."""
    seen = example_observation(spec)
    try:
        size = features({key: value_of(seen, key) for key in spec.observation}).size
    except Exception as error:  # whatever openpi or JAX raises, as above
        raise ConfigError(f"{path}: openpi gives no features: {type(error).__name__}: {error}") from error
    return replace(spec, features=size)


def _digest(folder: Path, settings: OpenPiSettings) -> str:
    """Of everything that makes a chunk: another checkpoint is another policy."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]
