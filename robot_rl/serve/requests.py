"""What a client asks of a policy, read from a message and checked before the policy sees any of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_rl.errors import BadAction, WireError
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.codec import Header
from robot_rl.wire.observations import values_from_plain
from robot_rl.wire.schemas import from_plain

BATCH = 1024
"""Observations or noises in one request, at most, further samples included."""
LONGEST_S = 60.0
"""A request that may take longer than this is given this long."""


@dataclass(frozen=True)
class Asked:
    """Encode `observations` (or take the contexts that were kept, or are given), and decode `noise` from them."""

    remaining_s: float
    """Until the client stops waiting, as it left there."""
    observations: Sequence[Observation] = ()
    handles: Sequence[bytes] = ()
    context: Context | None = None
    noise: Array | None = None
    """[B, *noise_shape] float32, or None: encode alone."""
    latent: Array | None = None
    """[B, Z] float32."""
    samples: Array | None = None
    """[B, K, *noise_shape] float32: decoded too, from the same contexts, or None."""

    @property
    def batch(self) -> int:
        """B."""
        known = len(self.observations) or len(self.handles)
        return known or (len(self.context.features) if self.context is not None else 0)

    @property
    def rows(self) -> int:
        """Rows that the largest call of the policy gets of this."""
        return self.batch * (1 + (0 if self.samples is None else self.samples.shape[1]))


def read_encode(header: Header, arrays: list[Array], spec: PolicySpec) -> Asked:
    """`encode` {observations, noise?, samples?}. Raises `BadObservation`, `BadAction` or `WireError`."""
    observations = values_from_plain(header.get("observations"), arrays, spec)
    _check_batch(len(observations))
    noise = None if header.get("noise") is None else _floats("noise", header, arrays, _noise(len(observations), spec))
    samples = _samples(header, arrays, len(observations), spec)
    if samples is not None and noise is None:
        raise WireError("samples: expected them beside a noise, got them alone")
    return Asked(_remaining(header), observations=observations, noise=noise, samples=samples)


def read_decode(header: Header, arrays: list[Array], spec: PolicySpec) -> Asked:
    """`decode` {handles or context, noise, latent?, samples?}. Raises `BadAction` or `WireError`."""
    handles, context = from_plain(list[bytes], header.get("handles"), arrays), None
    if not handles:
        if not spec.decodes_from_features:
            raise WireError("this policy decodes contexts that it encoded: expected handles, got features alone")
        context = from_plain(Context, header.get("context"), arrays)
    batch = len(handles) or (len(context.features) if context is not None and context.features.ndim else 0)
    _check_batch(batch)
    if context is not None:
        _check_floats("features", context.features, (batch, spec.features))
        if context.z is not None:
            _check_floats("z", context.z, (batch, spec.latent or 0))
        context = Context(context.features, context.z)  # and nothing that another made
    noise = _floats("noise", header, arrays, _noise(batch, spec))
    latent = _latent(header, arrays, batch, spec)
    samples = _samples(header, arrays, batch, spec)
    return Asked(_remaining(header), (), handles, context, noise, latent, samples)


def _remaining(header: Header) -> float:
    found = header.get("remaining_s", LONGEST_S)
    if not isinstance(found, int | float) or not math.isfinite(found):
        raise WireError(f"remaining_s: expected seconds until the deadline, got {type(found).__name__}")
    return min(float(found), LONGEST_S)


def _latent(header: Header, arrays: list[Array], batch: int, spec: PolicySpec) -> Array | None:
    if header.get("latent") is None:
        return None
    if spec.latent is None:
        raise BadAction("latent: this policy has none to decode with")
    return _floats("latent", header, arrays, (batch, spec.latent))


def _noise(batch: int, spec: PolicySpec) -> tuple[int, ...]:
    return (batch, *spec.noise_shape)


def _samples(header: Header, arrays: list[Array], batch: int, spec: PolicySpec) -> Array | None:
    if header.get("samples") is None:
        return None
    value: Array = from_plain(Array, header.get("samples"), arrays)
    each = value.shape[1] if value.ndim > 1 else 0
    _check_floats("samples", value, (batch, each, *spec.noise_shape))
    _check_batch(batch * (1 + each))
    return value if each else None


def _floats(name: str, header: Header, arrays: list[Array], shape: tuple[int, ...]) -> Array:
    value: Array = from_plain(Array, header.get(name), arrays)
    _check_floats(name, value, shape)
    return value


def _check_batch(batch: int) -> None:
    if not 1 <= batch <= BATCH:
        raise WireError(f"expected a batch of 1 to {BATCH}, got {batch}")


def _check_floats(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if value.shape != shape or value.dtype != np.float32:
        raise BadAction(f"{name}: expected float32 {shape}, got {value.dtype} {value.shape}")
    if not np.isfinite(value).all():
        raise BadAction(f"{name}: expected finite numbers")
