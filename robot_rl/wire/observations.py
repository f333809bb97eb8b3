"""What a policy reads of an observation: picked by the keys of its spec, checked by their shapes, named by content."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from robot_rl.errors import BadObservation, WireError, nearest
from robot_rl.types import Array, Observation, PolicySpec
from robot_rl.wire.pictures import from_jpeg, most_bytes, to_jpeg

NOTHING = np.zeros(0)
FEW = 32
PROPRIOCEPTION = ("q", "dq", "tcp_pose", "gripper_width", "wrench")


def value_of(observation: Observation, key: str) -> Array:
    """The array that a spec calls `key`: `tcp_pose`, `gripper_width`, `images.<camera>`, `extra.<name>` ...

    Raises `BadObservation` with the keys that there are.
    """
    if key in PROPRIOCEPTION:
        return np.asarray(getattr(observation, key))
    group, _, name = key.partition(".")
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


def check_jpeg(key: str, value: Array, spec: PolicySpec) -> None:
    """Raises `BadObservation` unless `value` may be the bytes of a JPEG of what `spec` calls `key`."""
    most = most_bytes(tuple(spec.observation[key]))
    if value.ndim != 1 or value.dtype != np.uint8 or value.size > most:
        raise BadObservation(f"{key}: expected at most {most} bytes of JPEG, got {value.dtype} {value.shape}")


def check_numbers(key: str, value: Array) -> None:
    """Raises `BadObservation` for a number that is none; pictures have only numbers."""
    if value.dtype != np.uint8 and not finite(value):
        raise BadObservation(f"{key}: expected finite numbers, got NaN or infinity")


def finite(value: Array) -> bool:
    """Whether all numbers are, without numpy's detours: this is done for every request."""
    if value.size <= FEW:
        return all(map(math.isfinite, value.reshape(-1).tolist()))
    return b"\0" not in np.isfinite(value).tobytes()


def values_to_plain(observations: Sequence[Observation], spec: PolicySpec, arrays: list[Array]) -> list[list[int]]:
    """What the policy reads and nothing else: of each observation an array for each key, in the keys' order.

    Both sides have the same spec, so keys need not travel. Raises `BadObservation` as `check_observation` does.
    """
    write, first = ValuesWriter(spec), len(arrays)
    arrays += write.values(observations)
    return write.rows(len(observations), first)


class ValuesWriter:
    """`values_to_plain` for many observations of one spec."""

    def __init__(self, spec: PolicySpec, jpeg: int | None = None) -> None:
        """`jpeg` is the quality of pictures, None for pixels."""
        self._spec, self._jpeg = spec, jpeg
        self._keys = [
            (key, _getter(key), tuple(spec.observation[key]), key.startswith("images."))
            for key in sorted(spec.observation)
        ]
        self._sizes = tuple(sum(key.startswith(group) for key in spec.observation) for group in ("images.", "extra."))

    def values(self, observations: Sequence[Observation]) -> list[Array]:
        """Of each observation its values. Raises `BadObservation` as `check_observation` does."""
        found: list[Array] = []
        for observation in observations:
            for key, get, shape, picture in self._keys:
                value = get(observation)
                if type(value) is not np.ndarray:
                    value = value_of(observation, key)
                if value.shape != shape or (value.dtype.char != "B" if picture else not finite(value)):
                    check_value(key, value, self._spec)  # says what is wrong
                found.append(to_jpeg(value, self._jpeg) if picture and self._jpeg is not None else value)
        return found

    def rows(self, batch: int, first: int = 0) -> list[list[int]]:
        """Where the values of each observation are among a message's arrays, from `first` on."""
        size = len(self._keys)
        return [list(range(first + i * size, first + (i + 1) * size)) for i in range(batch)]

    def trim(self, observation: Observation) -> Observation:
        """One whose `values` were taken, as `trim` does it."""
        if (len(observation.images), len(observation.extra)) == self._sizes:
            return observation
        return trim(observation, self._spec)


def _getter(key: str) -> Callable[[Observation], Any]:
    """How to find what `value_of` finds, in less time; whatever else this gives is not there."""
    group, _, name = key.partition(".")
    if group == "images":
        return lambda observation: observation.images.get(name)
    if group == "extra":
        return lambda observation: observation.extra.get(name)
    return attrgetter(key) if key in PROPRIOCEPTION else lambda observation: None


def values_from_plain(plain: Any, arrays: Sequence[Array], spec: PolicySpec) -> list[Observation]:
    """The observations again; what the policy does not read is nothing. Raises `BadObservation` or `WireError`."""
    return values_reader(plain, arrays, spec)(arrays)


def values_reader(
    plain: Any, arrays: Sequence[Array], spec: PolicySpec, *, jpeg: bool = False
) -> Callable[[Sequence[Array]], list[Observation]]:
    """How to read `arrays`, and whatever others are of the same dtypes and shapes. Raises as `values_from_plain`.

    With `jpeg`, pictures are that.
    """
    keys = sorted(spec.observation)
    if not isinstance(plain, list) or not all(isinstance(row, list) and len(row) == len(keys) for row in plain):
        raise WireError(f"observations: expected a list of rows of {len(keys)} arrays: {', '.join(keys)}")
    if not all(type(index) is int and 0 <= index < len(arrays) for row in plain for index in row):
        raise WireError(f"observations: expected indices of {len(arrays)} arrays")
    rows = [_Row(dict(zip(keys, row, strict=True)), arrays, spec, jpeg=jpeg) for row in plain]
    return lambda arrays: [row.read(arrays) for row in rows]


class _Row:
    """Where the values of one observation are. Raises `BadObservation` for shapes that are not the spec's."""

    def __init__(self, places: Mapping[str, int], arrays: Sequence[Array], spec: PolicySpec, *, jpeg: bool) -> None:
        for key, index in places.items():
            if jpeg and key.startswith("images."):
                check_jpeg(key, arrays[index], spec)
            else:
                check_kind(key, arrays[index], spec)
        self._spec, self._jpeg = spec, jpeg
        self._floats = [(key, index) for key, index in places.items() if arrays[index].dtype.kind == "f"]
        self._proprioception = [(key, index) for key, index in places.items() if key in PROPRIOCEPTION]
        self._images = [(key[7:], index) for key, index in places.items() if key.startswith("images.")]
        self._extra = [(key[6:], index) for key, index in places.items() if key.startswith("extra.")]

    def read(self, arrays: Sequence[Array]) -> Observation:
        """Raises `BadObservation` for numbers that are none."""
        for key, index in self._floats:
            if not finite(arrays[index]):
                check_numbers(key, arrays[index])
        known = {key: arrays[index] for key, index in self._proprioception}
        return Observation(
            seq=0,
            stamps_ns={},
            q=known.get("q", NOTHING),
            dq=known.get("dq", NOTHING),
            tcp_pose=known.get("tcp_pose", NOTHING),
            gripper_width=float(known.get("gripper_width", 0.0)),
            wrench=known.get("wrench", NOTHING),
            images={name: self._picture(name, arrays[index]) for name, index in self._images}
            if self._jpeg
            else {name: arrays[index] for name, index in self._images},
            extra={name: arrays[index] for name, index in self._extra},
        )

    def _picture(self, name: str, data: Array) -> Array:
        key = f"images.{name}"
        return from_jpeg(key, data, tuple(self._spec.observation[key]))


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
