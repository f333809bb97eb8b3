"""One message = one msgpack header + one raw frame per array; small arrays ride in the header.

    frame 0      msgpack of [header, [[dtype, shape] or [dtype, shape, bytes], ...]]
    frame 1..n   the bytes of the arrays that are described without them; little-endian, C order

Everything that comes from outside is checked before it is decoded: the number and size of frames, then the header's
bytes by a scan that builds no object (depth, items, lengths against what is really there, string keys, no extension
types), then each array's dtype against a list and its shape against the exact number of bytes. Whatever fails raises
`WireError`; nothing here ever unpickles or evaluates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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
_LITTLE = {name: np.dtype(name).newbyteorder("<") for name in DTYPES}
_NAMES = {dtype.str: name for name, dtype in _LITTLE.items()}
"""numpy's own name for it (`<f4`) -> what it is called on the wire."""


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


SMALL = 256
"""Bytes up to which an array rides in the header: a frame of its own costs more than it carries."""
SMALL_TOTAL = 2**16
"""Bytes of the arrays in one header; further ones get frames."""
LIMITS = Limits()
"""The limits of every socket of this project."""


def pack(header: Mapping[str, Any], arrays: Sequence[Array] = ()) -> list[Frame]:
    """Frames of a message. Raises `WireError` for an array or a value that has no place in one."""
    described: list[list[Any]] = []
    frames: list[Frame] = []
    room = SMALL_TOTAL
    for array in arrays:
        array = _little_endian(np.asarray(array, order="C"))
        described.append([_NAMES[array.dtype.str], list(array.shape)])
        if array.nbytes <= min(SMALL, room):
            room -= array.nbytes
            described[-1].append(array.tobytes())
        else:
            frames.append(array.data.cast("B"))
    return [pack_value([header, described]), *frames]


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
    if len(described) >= limits.frames:
        raise WireError(f"expected fewer than {limits.frames} arrays, got {len(described)}")
    rest = iter(frames[1:])
    arrays = [_array(description, rest, limits) for description in described]
    if (left := sum(1 for _ in rest)) > 0:
        raise WireError(f"the header describes {len(described)} arrays, got {left} frames too many")
    return header, arrays


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

_SCALARS = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SCALARS |= {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
"""First byte -> bytes that follow: nil, booleans, floats, integers."""
_BYTES, _TEXT, _LIST, _MAPPING = (
    {0xC4: 1, 0xC5: 2, 0xC6: 4},
    {0xD9: 1, 0xDA: 2, 0xDB: 4},
    {0xDC: 2, 0xDD: 4},
    {0xDE: 2, 0xDF: 4},
)
"""First byte -> bytes of the length that follows."""


def _kind(code: int) -> tuple[int, int, bool, bool, int] | None:
    """Of a first byte: bytes that follow, values inside (-1: none), text?, mapping?, bytes of a length; or refused."""
    if code < 0x80 or code >= 0xE0:
        return 0, -1, False, False, 0  # small integers
    if code < 0x90:
        return 0, 2 * (code & 0x0F), False, True, 0
    if code < 0xA0:
        return 0, code & 0x0F, False, False, 0
    if code < 0xC0:
        return code & 0x1F, -1, True, False, 0
    if code in _SCALARS:
        return _SCALARS[code], -1, False, False, 0
    size = (_BYTES | _TEXT | _LIST | _MAPPING).get(code)
    return None if size is None else (0, -1, code in _TEXT, code in _MAPPING, size)


_KINDS = [_kind(code) for code in range(256)]


def _scan(data: bytes, limits: Limits) -> None:
    """Walk the first msgpack value in `data`; raises `WireError` unless it is whole and within the limits."""
    at, end, kinds = 0, len(data), _KINDS
    room = limits.items  # values that may still come
    left, keyed = 1, False  # values still to come at this level; a mapping counts as 2 n, keys at even counts
    outer: list[tuple[int, bool]] = []  # the same of the levels around it
    while left:
        if at >= end:
            raise WireError("the header ends too early")
        kind = kinds[data[at]]
        if kind is None:
            raise WireError(f"msgpack type 0x{data[at]:02x} has no place in a header")
        length, count, is_text, is_mapping, sized = kind
        if keyed and not is_text and left % 2 == 0:
            raise WireError("expected text as the key of a mapping")
        at += 1
        if sized:
            if at + sized > end:
                raise WireError("the header ends too early")
            size = int.from_bytes(data[at : at + sized], "big")
            if data[at - 1] >= 0xDC:  # lists and mappings; below are bytes and text
                count = 2 * size if is_mapping else size
            else:
                length = size
            at += sized
        at += length
        if at > end:
            raise WireError("a length in the header goes beyond its end")
        room -= 1
        left -= 1
        if count > 0:
            if count > room:
                raise WireError(f"expected at most {limits.items} items in a header")
            outer.append((left, keyed))
            if len(outer) > limits.depth:
                raise WireError(f"expected at most {limits.depth} levels in a header")
            left, keyed = count, is_mapping
        while not left and outer:
            left, keyed = outer.pop()


# --- arrays ---------------------------------------------------------------------------------------------------------


def _array(description: Any, rest: Iterator[Frame], limits: Limits) -> Array:
    """The array described by [dtype, shape], whose bytes are the next frame, or by [dtype, shape, bytes]."""
    if not (isinstance(description, list) and len(description) in (2, 3) and isinstance(description[1], list)):
        raise WireError("expected [dtype, shape] or [dtype, shape, bytes] for each array")
    name, shape, *inside = description
    frame = inside[0] if inside else next(rest, None)
    if frame is None:
        raise WireError("the header describes an array that has neither bytes nor a frame")
    if not isinstance(frame, bytes | memoryview):
        raise WireError(f"expected the bytes of an array, got {type(frame).__name__}")
    if not isinstance(name, str) or name not in DTYPES:
        raise WireError(f"dtype {str(name)[:32]!r} is not allowed; valid: {', '.join(sorted(DTYPES))}")
    if len(shape) > 8 or not all(type(size) is int and 0 <= size <= limits.total_bytes for size in shape):
        raise WireError("expected a shape of at most 8 sizes >= 0")
    dtype = _LITTLE[name]
    if math.prod(max(size, 1) for size in shape) > limits.total_bytes:
        raise WireError(f"expected an array of at most {limits.total_bytes} entries, got shape {shape}")
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(frame):
        raise WireError(f"an array {name}{shape} has {expected} bytes, got {len(frame)}")
    if expected == 0:
        return np.empty(shape, dtype)
    array: Array = np.frombuffer(frame, dtype).reshape(shape)
    return array


def _little_endian(array: Array) -> Array:
    if array.dtype.str in _NAMES:
        return array
    if array.dtype.name not in DTYPES:
        raise WireError(f"an array of dtype {array.dtype} does not travel; valid: {', '.join(sorted(DTYPES))}")
    return array.astype(_LITTLE[array.dtype.name])
