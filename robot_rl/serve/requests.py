"""What a client asks of a policy, read from a message and checked before the policy sees any of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.errors import BadAction, WireError
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.handshake import HANDLE_BYTES
from robot_rl.wire.observations import finite, values_reader
from robot_rl.wire.schemas import from_plain
from robot_rl.wire.values import Header

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


Read = Callable[[list[Array], float], Asked]
"""(arrays, remaining_s) -> what is asked. Raises for numbers that are none, and nothing else."""


def encode_reader(header: Header, arrays: list[Array], spec: PolicySpec) -> Read:
    """`encode` {observations, jpeg?, noise?, samples?}: how to read `arrays`, and others of the same dtypes and shapes.

    Raises `BadObservation`, `BadAction` or `WireError`.
    """
    observe = values_reader(header.get("observations"), arrays, spec, jpeg=header.get("jpeg") is True)
    batch = len(header["observations"])
    _check_batch(batch)
    noise = _Floats("noise", header, arrays, _noise(batch, spec))
    samples = _samples(header, arrays, batch, spec)
    if samples.there and not noise.there:
        raise WireError("samples: expected them beside a noise, got them alone")
    return lambda arrays, remaining_s: Asked(
        remaining_s, observe(arrays), noise=noise.of(arrays), samples=samples.of(arrays)
    )


def decode_reader(header: Header, arrays: list[Array], spec: PolicySpec) -> Read:
    """`decode` {handles or context, noise, latent?, samples?}, likewise. Raises `BadAction` or `WireError`."""
    handles, context = _handles(header, arrays), None
    if handles is None:
        if not spec.decodes_from_features:
            raise WireError("this policy decodes contexts that it encoded: expected handles, got features alone")
        context = from_plain(Context, header.get("context"), arrays)
        batch = len(context.features) if context.features.ndim else 0
    else:
        batch = len(arrays[handles])
    _check_batch(batch)
    features, z = _Floats("features", {}, arrays, ()), _Floats("z", {}, arrays, ())
    if context is not None:
        features = _Floats("features", header["context"], arrays, (batch, spec.features))
        z = _Floats("z", header["context"], arrays, (batch, spec.latent or 0))
    noise = _Floats("noise", header, arrays, _noise(batch, spec))
    if not noise.there:
        raise WireError("noise: expected one to decode, got None")
    if header.get("latent") is not None and spec.latent is None:
        raise BadAction("latent: this policy has none to decode with")
    latent = _Floats("latent", header, arrays, (batch, spec.latent or 0))
    samples = _samples(header, arrays, batch, spec)

    def read(arrays: list[Array], remaining_s: float) -> Asked:
        given = features.of(arrays)  # and nothing that another made
        return Asked(
            remaining_s,
            handles=() if handles is None else [bytes(row) for row in arrays[handles]],
            context=None if given is None else Context(given, z.of(arrays)),
            noise=noise.of(arrays),
            latent=latent.of(arrays),
            samples=samples.of(arrays),
        )

    return read


def remaining(found: float) -> float:
    """Seconds until the deadline, as a client said (NaN: it did not)."""
    return LONGEST_S if math.isnan(found) else min(found, LONGEST_S)


def _handles(header: Header, arrays: list[Array]) -> int | None:
    """The index of the handles [B, 16] uint8."""
    if header.get("handles") is None:
        return None
    value: Array = from_plain(Array, header["handles"], arrays)
    if value.ndim != 2 or value.shape[1] != HANDLE_BYTES or value.dtype != np.uint8:
        raise WireError(f"handles: expected uint8 [B, {HANDLE_BYTES}], got {value.dtype} {value.shape}")
    return int(header["handles"])


def _noise(batch: int, spec: PolicySpec) -> tuple[int, ...]:
    return (batch, *spec.noise_shape)


def _samples(header: Header, arrays: list[Array], batch: int, spec: PolicySpec) -> _Floats:
    each = 0
    if header.get("samples") is not None:
        value: Array = from_plain(Array, header["samples"], arrays)
        each = value.shape[1] if value.ndim > 1 else 0
    found = _Floats("samples", header, arrays, (batch, each, *spec.noise_shape))
    _check_batch(batch * (1 + each))
    return found if each else _Floats("samples", {}, arrays, ())


class _Floats:
    """One of a request's arrays, float32 and finite, or None. Raises `BadAction` for another shape or dtype."""

    def __init__(self, name: str, header: Header, arrays: list[Array], shape: tuple[int, ...]) -> None:
        self.there = header.get(name) is not None
        self._name, self._index = name, header.get(name)
        if self.there:
            value: Array = from_plain(Array, self._index, arrays)
            if value.shape != shape or value.dtype != np.float32:
                raise BadAction(f"{name}: expected float32 {shape}, got {value.dtype} {value.shape}")

    def of(self, arrays: list[Array]) -> Array | None:
        """Raises `BadAction` for numbers that are none."""
        if not self.there:
            return None
        value = arrays[self._index or 0]
        if not finite(value):
            raise BadAction(f"{self._name}: expected finite numbers")
        return value


def _check_batch(batch: int) -> None:
    if not 1 <= batch <= BATCH:
        raise WireError(f"expected a batch of 1 to {BATCH}, got {batch}")
