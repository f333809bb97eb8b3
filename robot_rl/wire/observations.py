"""What a policy reads of an observation: picked by the keys of its spec, checked by their shapes, named by content."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from robot_rl.errors import BadObservation, WireError, nearest
from robot_rl.types import Array, Observation, PolicySpec

NOTHING = np.zeros(0)
FEW = 32
PROPRIOCEPTION = ("q", "dq", "tcp_pose", "gripper_width", "wrench")


def value_of(observation: Observation, key: str) -> Array:
    """The array that a spec calls `key`: `tcp_pose`, `gripper_width`, `images.<camera>`, `extra.<name>` ...

    Raises `BadObservation` with the keys that there are.
    """
    group, _, name = key.partition(".")
    if not name and key in PROPRIOCEPTION:
        return np.asarray(getattr(observation, key))
    named = {"images": observation.images, "extra": observation.extra}.get(group, {})
    if name not in named:
        images, extra = (f"images.{k}" for k in observation.images), (f"extra.{k}" for k in observation.extra)
        there = [*PROPRIOCEPTION, *images, *extra]
        raise BadObservation(f"the policy reads {key!r}, which the observation lacks{nearest(key, there)}")
    return np.asarray(named[name])


def check_observation(observation: Observation, spec: PolicySpec) -> None:
    """Raises `BadObservation` unless every key of `spec` is there, of its shape and finite (images: uint8)."""
    for key in spec.observation:
        check_value(key, value_of(observation, key), spec)


def check_value(key: str, value: Array, spec: PolicySpec) -> None:
    """Raises `BadObservation` unless `value` may be what `spec` calls `key`."""
    check_kind(key, value, spec)
    check_numbers(key, value)


def check_kind(key: str, value: Array, spec: PolicySpec) -> None:
    """Raises `BadObservation` unless `value` is of the shape (a picture: and the dtype) that `spec` wants of `key`."""
    shape = tuple(spec.observation[key])
    if value.shape != shape:
        raise BadObservation(f"{key}: expected shape {shape}, got {value.shape}")
    if key.startswith("images.") and value.dtype != np.uint8:
        raise BadObservation(f"{key}: expected uint8, got {value.dtype}")


def check_numbers(key: str, value: Array) -> None:
    """Raises `BadObservation` for a number that is none; pictures have only numbers."""
    if value.dtype != np.uint8 and not finite(value):
        raise BadObservation(f"{key}: expected finite numbers, got NaN or infinity")


def finite(value: Array) -> bool:
    """Whether all numbers are; of a few, without numpy's detours."""
    return all(map(math.isfinite, value.reshape(-1).tolist())) if value.size <= FEW else bool(np.isfinite(value).all())


def values_to_plain(observations: Sequence[Observation], spec: PolicySpec, arrays: list[Array]) -> list[list[int]]:
    """What the policy reads and nothing else: of each observation an array for each key, in the keys' order.

    Both sides have the same spec, so keys need not travel. Raises `BadObservation` for one that lacks a key.
    """
    keys, first = sorted(spec.observation), len(arrays)
    arrays += [value_of(observation, key) for observation in observations for key in keys]
    return [list(range(first + i * len(keys), first + (i + 1) * len(keys))) for i in range(len(observations))]


def values_from_plain(plain: Any, arrays: Sequence[Array], spec: PolicySpec) -> list[Observation]:
    """The observations again; what the policy does not read is nothing. Raises `BadObservation` or `WireError`."""
    return values_reader(plain, arrays, spec)(arrays)


def values_reader(
    plain: Any, arrays: Sequence[Array], spec: PolicySpec
) -> Callable[[Sequence[Array]], list[Observation]]:
    """How to read `arrays`, and whatever others are of the same dtypes and shapes. Raises as `values_from_plain`."""
    keys = sorted(spec.observation)
    if not isinstance(plain, list) or not all(isinstance(row, list) and len(row) == len(keys) for row in plain):
        raise WireError(f"observations: expected a list of rows of {len(keys)} arrays: {', '.join(keys)}")
    if not all(type(index) is int and 0 <= index < len(arrays) for row in plain for index in row):
        raise WireError(f"observations: expected indices of {len(arrays)} arrays")
    rows = [dict(zip(keys, row, strict=True)) for row in plain]
    for row in rows:
        for key, index in row.items():
            check_kind(key, arrays[index], spec)
    return lambda arrays: [_observation({key: arrays[index] for key, index in row.items()}) for row in rows]


def _observation(values: Mapping[str, Array]) -> Observation:
    for key, value in values.items():
        check_numbers(key, value)
    width = values.get("gripper_width")
    return Observation(
        seq=0,
        stamps_ns={},
        q=values.get("q", NOTHING),
        dq=values.get("dq", NOTHING),
        tcp_pose=values.get("tcp_pose", NOTHING),
        gripper_width=0.0 if width is None else float(width),
        wrench=values.get("wrench", NOTHING),
        images={key[7:]: value for key, value in values.items() if key.startswith("images.")},
        extra={key[6:]: value for key, value in values.items() if key.startswith("extra.")},
    )


def trim(observation: Observation, spec: PolicySpec) -> Observation:
    """The observation without the images and extras that the policy does not read."""
    images = {name: image for name, image in observation.images.items() if f"images.{name}" in spec.observation}
    extra = {name: value for name, value in observation.extra.items() if f"extra.{name}" in spec.observation}
    if len(images) == len(observation.images) and len(extra) == len(observation.extra):
        return observation
    return dataclasses.replace(observation, images=images, extra=extra)


def content_name(observation: Observation, spec: PolicySpec) -> bytes:
    """[16 bytes] the same for observations in which the policy reads the same; stamps and numbers do not count."""
    digest = hashlib.sha256(spec.hash.encode())
    for key in sorted(spec.observation):
        value = value_of(observation, key)
        digest.update(value.dtype.str.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.digest()[:16]


def example_observation(spec: PolicySpec) -> Observation:
    """An observation of the right shapes that shows nothing: zeros, black images, the identity as orientation."""
    pose = np.zeros(7)
    pose[6] = 1.0
    images, extra = (
        {key[len(group) :]: shape for key, shape in spec.observation.items() if key.startswith(group)}
        for group in ("images.", "extra.")
    )
    return Observation(
        seq=0,
        stamps_ns={},
        q=np.zeros(spec.observation.get("q", 7)),
        dq=np.zeros(spec.observation.get("dq", 7)),
        tcp_pose=pose,
        gripper_width=0.0,
        wrench=np.zeros(6),
        images={name: np.zeros(shape, np.uint8) for name, shape in images.items()},
        extra={name: np.zeros(shape) for name, shape in extra.items()},
    )
