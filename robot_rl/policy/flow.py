"""A flow policy at work: numpy only, so that it runs where the robot is.

Noise becomes a chunk along dx/dk = v(x, k, c), from k = 1 (noise) to k = 0 (chunk), in Euler steps (ZPRL section III-B,
equation 2, after Lipman et al., "Flow matching for generative modeling"). The network estimates the clean chunk a^
from (x, k, c), and v = (x - a^) / k: it need not learn to pass the noise through. The condition c is an embedding
of the features; or, when a latent z is given, its reconstruction c^ = g(z) from the variational bottleneck
z ~ N(mu(c), sigma(c)) (ZPRL section IV-A). All networks are MLPs with GELU; `robot_rl.policy.cloning` makes them.

A flow of no steps is plain regression: the network's estimate from c alone is the chunk, and there is no noise and no
bottleneck. It averages over ways of doing the task, and only a residual can improve it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from robot_rl.errors import BadAction, IntegrityError, SpecMismatch
from robot_rl.policy.features import FEATURES, OBSERVATION, read_features
from robot_rl.types import ActionSpace, Array, Context, Observation, PolicySpec

Layers = Sequence[tuple[Array, Array]]
"""Weight [in, out] and bias [out] of each layer."""

TIME_FREQUENCIES = 0.5 * np.pi * 2.0 ** np.arange(6)
"""rad per unit of flow time k; the network sees sine and cosine of each."""
TIME_FEATURES = 2 * len(TIME_FREQUENCIES)
TURN = "bottleneck.turn"
"""[Z, Z] what a sampled z is multiplied by (`policy.latent_axes`); a checkpoint without it samples as it is."""
LOG_STD = (-6.0, 2.0)
"""Range of the bottleneck's log sigma."""


class FlowPolicy:
    """A frozen flow policy on state features; implements `FrozenPolicy`.

    Nothing is remembered between calls: z is drawn with a generator seeded by the features themselves, so the same
    observation has the same z, today and in a replay.
    """

    def __init__(self, spec: PolicySpec, weights: Mapping[str, Array], ode_steps: int) -> None:
        """`weights`: name -> float32 array; `ode_steps`: Euler steps from noise to chunk, 0 for a regression."""
        self.spec = spec
        self.weights = weights
        self.ode_steps = ode_steps
        self._mean, self._scale = weights["features.mean"], weights["features.scale"]
        self._embed, self._chunk = layers_of(weights, "embed"), layers_of(weights, "chunk")
        self._bottleneck, self._reconstruct = layers_of(weights, "bottleneck"), layers_of(weights, "reconstruct")
        self._mid, self._half = action_scale(spec.action_space)
        if ode_steps == 0:
            return
        # The first layer is linear in (x, time, c): its share of the time is known now, that of c once per chunk.
        first, bias = self._chunk[0]
        size = spec.horizon * spec.action_space.size
        self._from_x, from_time, self._from_c = np.split(first, [size, size + TIME_FEATURES])
        self._time = time_features(flow_times(ode_steps)) @ from_time + bias

    @property
    def turn(self) -> Array:
        """[Z, Z]: see `TURN`."""
        found: Array = self.weights.get(TURN, np.eye(self.spec.latent or 0, dtype=np.float32))
        return found

    @classmethod
    def load(cls, path: Path) -> FlowPolicy:
        """Read a checkpoint (.safetensors) with the manifest beside it (.json).

        Raises `IntegrityError` when one is missing, the weights are not what the manifest says, or the features are
        made by another recipe than this version's.
        """
        return cls(*read_checkpoint(path))

    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> features [B, F] of about unit spread, and z [B, Z] if the policy has a bottleneck.

        Raises `BadObservation`.
        """
        features = ((read_features(observations) - self._mean) / self._scale).astype(np.float32)
        if self.spec.latent is None:
            return Context(features=features)
        mean, log_std = np.split(mlp(self._bottleneck, mlp(self._embed, features)), 2, axis=1)
        z = mean + np.exp(np.clip(log_std, *LOG_STD)) * _noise_of(features, mean.shape[1])
        return Context(features=features, z=z @ self.turn)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, T, A], or [B] of a regression -> chunks [B, T, A] SI float32, within the action space.

        The condition is the embedding of the features (the base policy), or g(`latent`) with `latent` [B, Z].
        Raises `SpecMismatch` on a wrong shape and `BadAction` on a number that is not finite.
        """
        batch = len(context.features)
        features = _expect("features", context.features, (batch, self.spec.features))
        x = _expect("noise", noise, (batch, *self.spec.noise_shape)).reshape(batch, -1).copy()
        if latent is None:
            c = mlp(self._embed, features)
        else:
            c = mlp(self._reconstruct, _expect("latent", latent, (batch, self.spec.latent or 0)))
        x = self._flow(x, c) if self.ode_steps else mlp(self._chunk, c)
        x = x * self.weights["chunk.scale"] + self.weights["chunk.mean"]
        shape = (batch, self.spec.horizon, self.spec.action_space.size)
        chunks: Array = self._mid + self._half * np.clip(x, -1.0, 1.0).reshape(shape)
        return chunks

    def _flow(self, x: Array, c: Array) -> Array:
        """Noise [B, T * A] -> chunks of unit spread [B, T * A], in place."""
        condition = c @ self._from_c
        for left, time in zip(range(self.ode_steps, 0, -1), self._time, strict=True):
            hidden = gelu(x @ self._from_x + (condition + time))
            x += (mlp(self._chunk[1:], hidden) - x) / np.float32(left)  # an Euler step of 1 / ode_steps along -v
        return x


# --- networks -------------------------------------------------------------------------------------------------------


def mlp(layers: Layers, x: Array) -> Array:
    """[B, in] -> [B, out]: GELU after every layer but the last."""
    *hidden, (weight, bias) = layers
    for inner, inner_bias in hidden:
        x = gelu(x @ inner + inner_bias)
    out: Array = x @ weight + bias
    return out


def gelu(x: Array) -> Array:
    """GELU in its tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    root = np.float32(np.sqrt(2.0 / np.pi))
    out: Array = x * x
    out *= np.float32(0.044715) * root
    out += root
    out *= x
    np.tanh(out, out=out)
    out += np.float32(1.0)
    out *= x
    out *= np.float32(0.5)
    return out


def flow_times(steps: int) -> Array:
    """[steps] the flow times at which the velocity is taken: 1, ..., 1 / steps."""
    return 1.0 - np.arange(steps) / steps


def time_features(k: Array) -> Array:
    """[N] flow times in [0, 1] -> [N, TIME_FEATURES] float32."""
    phase = k[:, None] * TIME_FREQUENCIES
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=1).astype(np.float32)


def layers_of(weights: Mapping[str, Array], name: str) -> list[tuple[Array, Array]]:
    """The layers called `name.0.weight`, `name.0.bias`, `name.1.weight`, ..."""
    count = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in weights)
    return [(weights[f"{name}.{i}.weight"], weights[f"{name}.{i}.bias"]) for i in range(count)]


def action_scale(space: ActionSpace) -> tuple[Array, Array]:
    """Middle [A] and half range [A], SI float32: an action is middle + half * (number in [-1, 1])."""
    low, high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
    return (high + low) / 2, (high - low) / 2


def _noise_of(features: Array, size: int) -> Array:
    """[B, F] -> N(0, I) [B, size] float32, each row drawn from a generator seeded by its features' bytes."""
    keys = (hashlib.blake2b(row.astype("<f4").tobytes(), digest_size=16).digest() for row in features)
    generators = (np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"))) for key in keys)
    return np.stack([generator.standard_normal(size, dtype=np.float32) for generator in generators])


def _expect(name: str, value: Array, shape: tuple[int, ...]) -> Array:
    if value.shape != shape:
        raise SpecMismatch(f"decode: expected {name} of shape {shape} for this policy, got {value.shape}")
    if not np.isfinite(value).all():
        raise BadAction(f"decode: expected finite {name}, got {value!r}; look at what produced it")
    return value.astype(np.float32, copy=False)


# --- checkpoint -----------------------------------------------------------------------------------------------------


def make_spec(space: ActionSpace, horizon: int, step_s: float, latent: int | None, policy_id: str) -> PolicySpec:
    """What a flow policy on state features needs and gives; a regression, without noise, if there is no `latent`."""
    return PolicySpec(
        policy_id=policy_id,
        observation=dict(OBSERVATION),
        action_space=space,
        horizon=horizon,
        step_s=step_s,
        noise_shape=() if latent is None else (horizon, space.size),
        features=FEATURES,
        latent=latent,
        deterministic=True,
        decodes_from_features=True,
    )


def spec_from(value: Mapping[str, Any]) -> PolicySpec:
    """A spec as it was before it became JSON."""
    space: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value["action_space"].items()}
    spec = PolicySpec(**{**value, "action_space": ActionSpace(**space)})
    observation = {key: tuple(shape) for key, shape in spec.observation.items()}
    return replace(spec, observation=observation, noise_shape=tuple(spec.noise_shape))


def read_checkpoint(path: Path) -> tuple[PolicySpec, dict[str, Array], int]:
    """Spec, weights and Euler steps, checked against the manifest. Raises `IntegrityError`."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text())
        data = path.read_bytes()
        got = hashlib.sha256(data).hexdigest()
        if got != manifest["sha256"]:
            raise IntegrityError(f"{path}: expected sha256 {manifest['sha256']}, got {got}; make the checkpoint again")
        spec = spec_from(manifest["spec"])
        if spec.hash != manifest["spec_hash"] or spec.observation != OBSERVATION:
            raise IntegrityError(
                f"{path}: expected a spec of hash {manifest['spec_hash']} that reads {dict(OBSERVATION)}, got {spec}"
            )
        return spec, load_safetensors(data), int(manifest["ode_steps"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise IntegrityError(f"{path}: not a flow policy with its manifest: {error!r}; make it again") from error
