"""A transition as a JSON message, bit for bit: arrays travel as base64 of their little-endian bytes."""

from __future__ import annotations

import base64
import math
from typing import Any, get_type_hints

import numpy as np

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.types import Array, Source, Transition

DTYPES = ("<f4", "<f8", "<i4", "<i8", "|u1", "|b1")
"""What an array of a transition may be."""

_HINTS = get_type_hints(Transition)
_ARRAYS = [name for name, hint in _HINTS.items() if hint in (Array, Array | None)]
_OPTIONAL = [name for name, hint in _HINTS.items() if hint == Array | None]
_SCALARS = {name: hint for name, hint in _HINTS.items() if hint in (int, float, bool)}


def to_message(transition: Transition) -> dict[str, Any]:
    """The JSON object of a transition. Raises `StoreError` for an array of another dtype than `DTYPES`."""
    message: dict[str, Any] = {name: kind(getattr(transition, name)) for name, kind in _SCALARS.items()}
    message["source"] = transition.source.value
    for name in _ARRAYS:
        array = getattr(transition, name)
        message[name] = None if array is None else _pack(array, name)
    return message


def from_message(message: dict[str, Any], where: str) -> Transition:
    """The transition that `to_message` was given. Raises `IntegrityError`, naming `where`, for anything else."""
    if set(message) != set(_HINTS):
        raise IntegrityError(f"{where}: expected the keys {sorted(_HINTS)}, got {sorted(message)}")
    values: dict[str, Any] = {}
    for name, kind in _SCALARS.items():
        if type(message[name]) is not kind:
            raise IntegrityError(f"{where}.{name}: expected {kind.__name__}, got {message[name]!r:.80}")
        values[name] = message[name]
    for name in _ARRAYS:
        absent = message[name] is None and name in _OPTIONAL
        values[name] = None if absent else _unpack(message[name], f"{where}.{name}")
    try:
        values["source"] = Source(message["source"])
    except ValueError as error:
        raise IntegrityError(f"{where}.source: expected one of {[s.value for s in Source]}: {error}") from error
    return Transition(**values)


def _pack(array: Array, name: str) -> dict[str, Any]:
    array = np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in DTYPES:
        raise StoreError(f"transition.{name}: expected a dtype of {DTYPES}, got {array.dtype}")
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "base64": data}


def _unpack(packed: object, where: str) -> Array:
    if not isinstance(packed, dict) or set(packed) != {"dtype", "shape", "base64"} or packed["dtype"] not in DTYPES:
        raise IntegrityError(f"{where}: expected dtype (of {DTYPES}), shape and base64, got {packed!r:.80}")
    dtype, shape = np.dtype(packed["dtype"]), packed["shape"]
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise IntegrityError(f"{where}: expected a shape, got {shape!r:.80}")
    try:
        data = base64.b64decode(packed["base64"], validate=True)
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: not base64: {error}") from error
    if len(data) != dtype.itemsize * math.prod(shape):
        raise IntegrityError(f"{where}: expected {math.prod(shape)} of {dtype}, got {len(data)} bytes")
    array: Array = np.frombuffer(data, dtype).reshape(shape).copy()
    return array
