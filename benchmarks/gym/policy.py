"""A frozen flow policy for a flat observation, of the product's own parts (`robot_rl.policy.backbones`).

What differs from the product's policies is what is read: every entry of an environment's observation, scaled to unit
spread by the demonstrations. Chunk decoder, flow, bottleneck, its axes and the training are the product's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from robot_rl.config import PolicyConfig
from robot_rl.errors import BadObservation
from robot_rl.policy.backbones.decoder import ChunkDecoder
from robot_rl.policy.backbones.fitting import fit
from robot_rl.policy.backbones.settings import BackboneConfig
from robot_rl.policy.cloning import SMALLEST_CHUNK_SPREAD, one_thread
from robot_rl.policy.flow import action_scale
from robot_rl.policy.latent_axes import latent_axes
from robot_rl.store.files import atomic_write
from robot_rl.types import ActionSpace, Array, Context, Observation, PolicySpec

KEY = "state"
"""Of `Observation.extra`: the flat observation."""
SMALLEST_SPREAD = 1e-3
"""An entry that hardly varies in the demonstrations is not blown up."""
MOST = 5.0
"""Standard deviations that a feature may lie away, or as many as in the demonstrations (what is lifted at the end of an
episode lay still for most of it): what was never seen is no reason for a number without bounds."""
BACKBONE = BackboneConfig()
Progress = Callable[[str, int, int, float], None]


@dataclass(frozen=True)
class Demonstrations:
    """M steps of an expert, episode after episode."""

    state: Array
    """[M, S] as it is observed."""
    action: Array
    """[M, A] in the action space."""
    episode: Array
    """[M] int."""

    def windows(self, horizon: int) -> tuple[Array, Array]:
        """States [M, S] and the chunks [M, T, A] that began there; the last action fills what its episode lacks."""
        ends = np.searchsorted(self.episode, self.episode, side="right") - 1
        index = np.minimum(np.arange(len(self.episode))[:, None] + np.arange(horizon), ends[:, None])
        return self.state, self.action[index]


@dataclass(frozen=True)
class Scaling:
    """States [B, S] to features [B, S]: of unit spread in the demonstrations, and bounded."""

    mean: Array
    """[S]."""
    scale: Array
    """[S]."""
    most: Array
    """[S]: a feature lies within +- this."""

    @classmethod
    def of(cls, states: Array) -> Scaling:
        """From the demonstrations' states [M, S]."""
        mean, scale = states.mean(0), np.maximum(states.std(0), SMALLEST_SPREAD)
        most = np.maximum(np.abs((states - mean) / scale).max(0), MOST)
        return cls(*(part.astype(np.float32) for part in (mean, scale, most)))

    def __call__(self, states: Array) -> Array:
        features: Array = np.clip((states - self.mean) / self.scale, -self.most, self.most).astype(np.float32)
        return features


class StatePolicy:
    """Implements `FrozenPolicy` for observations with `extra["state"]`; `decoder` is the learner's too."""

    def __init__(self, spec: PolicySpec, decoder: ChunkDecoder, scaling: Scaling) -> None:
        self.spec = spec
        self.decoder = decoder.eval().requires_grad_(False)
        self._scaling = scaling

    @property
    def spread(self) -> Array:
        """[A]: standard deviations of the demonstrated actions, in halves of their range."""
        spread: Array = self.decoder.get_buffer("scale").numpy()
        return spread

    @torch.no_grad()
    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> features [B, S], and z [B, Z] drawn by a generator that the features seed."""
        state = np.stack([observation.extra[KEY] for observation in observations])
        if not np.isfinite(state).all():
            raise BadObservation(f"expected finite numbers in {KEY!r}, got {state}")
        features = self._scaling(state)
        noise = np.stack([_noise_of(row, self.spec.latent or 0) for row in features])
        z = self.decoder.latent_of(torch.from_numpy(features), torch.from_numpy(noise))
        return Context(features=features, z=z.numpy())

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, T, A] -> chunks [B, T, A] in the action space; under g(`latent` [B, Z]) where one is given."""
        given = None if latent is None else torch.from_numpy(latent)
        chunks: Array = self.decoder.decode(torch.from_numpy(context.features), torch.from_numpy(noise), given).numpy()
        return chunks

    def save(self, path: Path) -> None:
        """Weights and scales, whole or not at all."""
        scales = {f"features.{name}": torch.from_numpy(part) for name, part in vars(self._scaling).items()}
        atomic_write(path, save({**{k: v.contiguous() for k, v in self.decoder.state_dict().items()}, **scales}))

    @classmethod
    def load(cls, path: Path, config: PolicyConfig, space: ActionSpace, step_s: float) -> StatePolicy:
        """What `save` wrote."""
        weights = load_file(path)
        scaling = Scaling(*(weights.pop(f"features.{part.name}").numpy() for part in fields(Scaling)))
        size = len(scaling.mean)
        decoder = ChunkDecoder(config, BACKBONE, space, size)
        decoder.load_state_dict(weights)
        return cls(spec_of(config, space, step_s, size, _name(decoder)), decoder, scaling)


def clone(
    demonstrations: Demonstrations,
    config: PolicyConfig,
    space: ActionSpace,
    step_s: float,
    progress: Progress | None = None,
) -> StatePolicy:
    """Flow and bottleneck, on one thread: the same demonstrations and config give the same weights."""
    states, chunks = demonstrations.windows(config.horizon)
    scaling = Scaling.of(states)
    features = torch.from_numpy(scaling(states))
    middle, half = action_scale(space)
    normal = np.clip((chunks - middle) / half, -1.0, 1.0)
    with one_thread(config.seed):
        decoder = ChunkDecoder(config, BACKBONE, space, features.shape[1])
        spread = np.maximum(normal.std(axis=(0, 1)), SMALLEST_CHUNK_SPREAD)
        decoder.get_buffer("mean").copy_(torch.from_numpy(normal.mean(axis=(0, 1))))
        decoder.get_buffer("scale").copy_(torch.from_numpy(spread))
        targets = torch.from_numpy(((normal - normal.mean(axis=(0, 1))) / spread).astype(np.float32))
        decoder = _train(decoder, features, targets, config, progress)
        unnamed = spec_of(config, space, step_s, features.shape[1], "")
        decoder.requires_grad_(False)
        assert decoder.bottleneck is not None
        decoder.bottleneck.turn_by(torch.from_numpy(latent_axes(decoder, unnamed)))
    spec = spec_of(config, space, step_s, features.shape[1], _name(decoder))
    return StatePolicy(spec, decoder, scaling)


def _train(
    decoder: ChunkDecoder, features: Tensor, targets: Tensor, config: PolicyConfig, progress: Progress | None
) -> ChunkDecoder:
    """The flow first, then the bottleneck on what is frozen by then (ZPRL section IV-A)."""
    settings: dict[str, Any] = {"batch": config.batch, "learning_rate": config.learning_rate, "progress": progress}
    bottleneck, decoder.bottleneck = decoder.bottleneck, None
    net = decoder

    def flow_loss(rows: Tensor) -> tuple[Tensor, ...]:
        return (net.loss(targets[rows], net.embed(features[rows])),)

    averaged, _ = fit("flow", net, flow_loss, len(features), steps=config.train_steps, **settings)
    averaged.requires_grad_(False)
    assert bottleneck is not None  # `BACKBONE` has one
    embedded = averaged.embed(features)

    def bottleneck_loss(rows: Tensor) -> tuple[Tensor, ...]:
        reconstructed, kl = bottleneck(embedded[rows])
        under = averaged.loss(targets[rows], reconstructed)
        return under + config.kl_weight * kl, under, kl

    averaged.bottleneck, _ = fit(
        "bottleneck", bottleneck, bottleneck_loss, len(features), steps=config.bottleneck_steps, **settings
    )
    return averaged


def spec_of(config: PolicyConfig, space: ActionSpace, step_s: float, features: int, policy_id: str) -> PolicySpec:
    """What the policy needs and gives."""
    return PolicySpec(
        policy_id=policy_id,
        observation={f"extra.{KEY}": (features,)},
        action_space=space,
        horizon=config.horizon,
        step_s=step_s,
        noise_shape=(config.horizon, space.size),
        features=features,
        latent=config.latent,
        deterministic=True,
        decodes_from_features=True,
    )


def _name(decoder: ChunkDecoder) -> str:
    digest = hashlib.sha256()
    for value in decoder.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return f"flow-{digest.hexdigest()[:12]}"


def _noise_of(features: Array, size: int) -> Array:
    """[S] -> N(0, I) [Z] float32 of a generator that the features' bytes seed."""
    key = hashlib.blake2b(features.astype("<f4").tobytes(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    return generator.standard_normal(size, dtype=np.float32)
