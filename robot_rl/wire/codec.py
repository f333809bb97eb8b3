"""One message = one msgpack header + one raw frame per array.

    frame 0      msgpack of [header, [[dtype, shape], ...]]
    frame 1..n   the arrays' bytes, little-endian, C order

Everything that comes from outside is checked before it is decoded: the number and size of frames, then the header's
bytes by a scan that builds no object (depth, items, lengths against what is really there, string keys, no extension
types), then each array's dtype against a list and its shape against the exact number of bytes. Whatever fails raises
`WireError`; nothing here ever unpickles or evaluates.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from robot_rl.errors import WireError
from robot_rl.types import Array

Header = dict[str, Any]
Frame = bytes | memoryview

DTYPES = frozenset(
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
)
"""What an array may be made of."""


@dataclass(frozen=True)
class Limits:
    """What a message may weigh."""

    frames: int = 4096
    """Header included."""
    header_bytes: int = 2**20
    total_bytes: int = 2**26
    depth: int = 16
    """Nesting of lists and mappings in the header."""
    items: int = 2**16
    """Values and keys in the header, all together."""


LIMITS = Limits()
"""The limits of every socket of this project."""


def pack(header: Mapping[str, Any], arrays: Sequence[Array] = ()) -> list[Frame]:
    """Frames of a message. Raises `WireError` for an array or a value that has no place in one."""
    contiguous = [_little_endian(np.asarray(array, order="C")) for array in arrays]
    described = [[array.dtype.name, list(array.shape)] for array in contiguous]
    return [pack_value([header, described]), *(_bytes_of(array) for array in contiguous)]


def unpack(frames: Sequence[Frame], limits: Limits = LIMITS) -> tuple[Header, list[Array]]:
    """Header and arrays (read-only views of the frames). Raises `WireError`, whatever the frames hold."""
    if not 1 <= len(frames) <= limits.frames:
        raise WireError(f"expected 1 to {limits.frames} frames, got {len(frames)}")
    total = sum(len(frame) for frame in frames)
    if total > limits.total_bytes:
        raise WireError(f"expected at most {limits.total_bytes} bytes, got {total}")
    value = unpack_value(frames[0], limits)
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], dict) and isinstance(value[1], list)):
        raise WireError("expected a header [mapping, arrays]")
    header, described = value
    if len(described) != len(frames) - 1:
        raise WireError(f"the header describes {len(described)} arrays, got {len(frames) - 1} frames")
    pairs = zip(described, frames[1:], strict=True)
    return header, [_array(description, frame, limits) for description, frame in pairs]


def pack_value(value: Any) -> bytes:
    """Msgpack of plain values: None, bool, int, float, str, bytes, lists and mappings with string keys."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"only plain values travel in a header: {error}") from error
    return packed


def unpack_value(frame: Frame, limits: Limits = LIMITS) -> Any:
    """The value in `frame`, after a scan of its structure. Raises `WireError`."""
    data = bytes(frame)
    if len(data) > limits.header_bytes:
        raise WireError(f"expected a header of at most {limits.header_bytes} bytes, got {len(data)}")
    _scan(data, limits)
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise WireError(f"not msgpack: {type(error).__name__}") from error


# --- the scan: walks the header's bytes without building anything ---------------------------------------------------

_SCALAR = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SCALAR |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
"""First byte -> bytes that follow: nil, booleans, floats, integers."""
_BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_TEXT = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_LIST = {0xDC: ">H", 0xDD: ">I"}
_MAPPING = {0xDE: ">H", 0xDF: ">I"}


def _scan(data: bytes, limits: Limits) -> None:
    """Walk the first msgpack value in `data`; raises `WireError` unless it is whole and within the limits."""
    at, items = 0, 0
    open_lists: list[int] = []  # values still to come at each level; a mapping counts as 2 n, keys at even counts
    mappings: list[bool] = []
    while True:
        if at >= len(data):
            raise WireError("the header ends too early")
        code = data[at]
        at += 1
        items += 1
        count, length, is_text, is_mapping = -1, 0, False, False
        if code < 0x80 or code >= 0xE0:
            pass  # small integers
        elif code < 0x90:
            count, is_mapping = 2 * (code & 0x0F), True
        elif code < 0xA0:
            count = code & 0x0F
        elif code < 0xC0:
            length, is_text = code & 0x1F, True
        elif code in _SCALAR:
            length = _SCALAR[code]
        else:
            size, at = _length(data, at, code)
            if code in _LIST:
                count = size
            elif code in _MAPPING:
                count, is_mapping = 2 * size, True
            else:
                length, is_text = size, code in _TEXT
        if mappings and mappings[-1] and open_lists[-1] % 2 == 0 and not is_text:
            raise WireError("expected text as the key of a mapping")
        at += length
        if at > len(data):
            raise WireError("a length in the header goes beyond its end")
        if items + max(count, 0) > limits.items:
            raise WireError(f"expected at most {limits.items} items in a header")
        if open_lists:
            open_lists[-1] -= 1
        if count > 0:
            open_lists.append(count)
            mappings.append(is_mapping)
            if len(open_lists) > limits.depth:
                raise WireError(f"expected at most {limits.depth} levels in a header")
        while open_lists and open_lists[-1] == 0:
            open_lists.pop()
            mappings.pop()
        if not open_lists:
            return


def _length(data: bytes, at: int, code: int) -> tuple[int, int]:
    """The length written at `at` for first byte `code`, and where it ends."""
    layout = _BYTES.get(code) or _TEXT.get(code) or _LIST.get(code) or _MAPPING.get(code)
    if layout is None:
        raise WireError(f"msgpack type 0x{code:02x} has no place in a header")
    if at + struct.calcsize(layout) > len(data):
        raise WireError("the header ends too early")
    size: int = struct.unpack_from(layout, data, at)[0]
    return size, at + struct.calcsize(layout)


# --- arrays ---------------------------------------------------------------------------------------------------------


def _array(description: Any, frame: Frame, limits: Limits) -> Array:
    """The array that `frame` holds, as described by [dtype, shape]."""
    if not (isinstance(description, list) and len(description) == 2 and isinstance(description[1], list)):
        raise WireError("expected [dtype, shape] for each array")
    name, shape = description
    if not isinstance(name, str) or name not in DTYPES:
        raise WireError(f"dtype {str(name)[:32]!r} is not allowed; valid: {', '.join(sorted(DTYPES))}")
    if len(shape) > 8 or not all(type(size) is int and 0 <= size <= limits.total_bytes for size in shape):
        raise WireError("expected a shape of at most 8 sizes >= 0")
    dtype = np.dtype(name)
    if math.prod(max(size, 1) for size in shape) > limits.total_bytes:
        raise WireError(f"expected an array of at most {limits.total_bytes} entries, got shape {shape}")
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(frame):
        raise WireError(f"an array {name}{shape} has {expected} bytes, got {len(frame)}")
    if expected == 0:
        return np.empty(shape, dtype)
    array: Array = np.frombuffer(frame, dtype.newbyteorder("<")).reshape(shape)
    return array


def _little_endian(array: Array) -> Array:
    if array.dtype.name not in DTYPES:
        raise WireError(f"an array of dtype {array.dtype} does not travel; valid: {', '.join(sorted(DTYPES))}")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _bytes_of(array: Array) -> Frame:
    return array.data.cast("B") if array.size else b""
