"""A backbone at work, in torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robot_rl.errors import BadAction, SpecMismatch
from robot_rl.policy.backbones.checkpoint import read_backbone
from robot_rl.policy.backbones.model import Backbone
from robot_rl.policy.backbones.seeing import read
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.observations import content_name


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Sums in one order, and no threads that spin beside a control loop."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class BackbonePolicy:
    """A frozen policy of parts; implements `FrozenPolicy`.

    Nothing is remembered between calls: z is drawn with a generator seeded by what the policy reads of the observation,
    so the same observation has the same z, today and in a replay, alone and in a batch.
    """

    def __init__(self, spec: PolicySpec, backbone: Backbone) -> None:
        """`backbone` is frozen here."""
        self.spec = spec
        self.backbone = backbone.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path) -> BackbonePolicy:
        """Read a checkpoint (.safetensors) with the manifest beside it (.json). Raises `IntegrityError`."""
        return cls(*read_backbone(path))

    @torch.no_grad()
    @one_torch_thread()
    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> features [B, F] of about unit spread, and z [B, Z] if there is a bottleneck.

        Raises `BadObservation`.
        """
        state, pictures = read(observations, self.spec, self.backbone.vision)
        squares = {} if self.backbone.eyes is None else self.backbone.eyes.middle(pictures)
        features = self.backbone.features(self.backbone.normal(state), squares)
        if self.spec.latent is None:
            return Context(features=features.numpy())
        z = self.backbone.chunks.latent_of(features, torch.from_numpy(self._noise_of(observations)))
        return Context(features=features.numpy(), z=z.numpy())

    @one_torch_thread()
    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, *noise_shape] -> chunks [B, T, A] SI float32, within the action space.

        The condition is the embedding of the features (the base policy), or g(`latent`) with `latent` [B, Z].
        Raises `SpecMismatch` on a wrong shape and `BadAction` on a number that is not finite.
        """
        batch = len(context.features)
        features = _expect("features", context.features, (batch, self.spec.features))
        drawn = _expect("noise", noise, (batch, *self.spec.noise_shape))
        given = None if latent is None else _expect("latent", latent, (batch, self.spec.latent or 0))
        chunks: Array = self.backbone.chunks.decode(features, drawn, given).numpy()
        return chunks

    def _noise_of(self, observations: Sequence[Observation]) -> Array:
        """N(0, I) [B, Z] float32, each row by a generator seeded by what is read of its observation."""
        names = (content_name(observation, self.spec) for observation in observations)
        generators = (np.random.Generator(np.random.Philox(key=int.from_bytes(name, "little"))) for name in names)
        size = self.spec.latent or 0
        return np.stack([generator.standard_normal(size, dtype=np.float32) for generator in generators])


def _expect(name: str, value: Array, shape: tuple[int, ...]) -> Tensor:
    if value.shape != shape:
        raise SpecMismatch(f"decode: expected {name} of shape {shape} for this policy, got {value.shape}")
    if not np.isfinite(value).all():
        raise BadAction(f"decode: expected finite {name}, got {value!r}; look at what produced it")
    return torch.from_numpy(np.array(value, np.float32))
