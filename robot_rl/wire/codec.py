"""One message = one msgpack header, and one frame of raw bytes for all arrays; little ones ride in the header.

    frame 0    msgpack of [numbers, form] or [numbers, form, body]
    frame 1    the body, if frame 0 has none

The form is msgpack of [the rest of the header, [[dtype, shape], ...]]; `numbers` are the header's own numbers, which
change with every message (its id, the time that is left). The body holds the arrays' bytes in their order,
little-endian, in C order, each from the next multiple of 8 bytes on. So messages of one kind have one form, byte for
byte: who gets many of them keeps their `Forms`, and reads and checks each once.

Everything that comes from outside is checked before it is decoded: the number and size of frames, then the header's
bytes by a scan that builds no object (depth, items, lengths against what is really there, string keys, no extension
types), then each array's dtype against a list and all their shapes against the exact number of bytes. Whatever fails
raises `WireError`; nothing here ever unpickles or evaluates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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

    arrays: int = 4096
    header_bytes: int = 2**20
    """With the layout, and the body if that is small."""
    total_bytes: int = 2**26
    depth: int = 16
    """Nesting of lists and mappings in the header."""
    items: int = 2**16
    """Values and keys in the header, all together."""


FRAMES = 2
"""Of a message, at most."""
SMALL = 2**15
"""Bytes up to which a body rides in the header: a frame of its own costs more than a copy of so little."""
ALIGN = 8
"""Bytes; what numpy wants of the widest dtype."""
KNOWN, KNOWN_BYTES = 64, 1024
"""Forms that are remembered, and how long one of them may be: what a peer can make of that is a megabyte or two."""
LIMITS = Limits()
"""The limits of every socket of this project."""


class Room:
    """Memory in which messages are put together, one after the other: fresh pages would cost more than the copy."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def of(self, size: int) -> memoryview:
        """`size` bytes, whatever they hold; the same as before, unless they are too few."""
        if len(self._bytes) < size:
            self._bytes = bytearray(size)
        return memoryview(self._bytes)[:size]


def pack(header: Mapping[str, Any], arrays: Sequence[Array] = (), room: Room | None = None) -> list[Frame]:
    """Frames of a message; with a `room`, good until the next message in it.

    Raises `WireError` for an array or a value that has no place in one.
    """
    laid = [_little_endian(np.asarray(array, order="C")) for array in arrays]
    layout, sizes = _layout(tuple([(array.dtype.str, array.shape) for array in laid]))
    body, at = (room or Room()).of(sum(sizes) + sum(-size % ALIGN for size in sizes)), 0
    for array, size in zip(laid, sizes, strict=True):
        end = at + size
        if size:
            body[at:end] = array.data.cast("B") if array.ndim else array.tobytes()
        at = end + -end % ALIGN
        if at > end:
            body[end:at] = bytes(at - end)  # what an earlier message left there is nobody's business
    numbers = {key: value for key, value in header.items() if type(value) in (int, float)}
    rest = {key: value for key, value in header.items() if key not in numbers} if numbers else dict(header)
    form = b"\x92" + pack_value(rest) + layout  # a list of two
    if at <= SMALL:
        return [pack_value([numbers, form, bytes(body)])]
    return [pack_value([numbers, form]), body]


class Form:
    """What messages of one kind have in common: their header but for its numbers, and what their arrays are."""

    __slots__ = ("_packed", "again", "places", "size")

    def __init__(self, packed: bytes, limits: Limits) -> None:
        """Raises `WireError` unless it is a header and the arrays' dtypes and shapes."""
        value = unpack_value(packed, limits)
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], dict)):
            raise WireError("expected a form [mapping, arrays]")
        self.places, self.size = _places(value[1], limits)
        self.again: Any = None
        """For who reads such messages: how to read the next one, once one was read."""
        self._packed = packed

    @property
    def header(self) -> Header:
        """A new one each time: whoever gets it may change it."""
        header: Header = msgpack.unpackb(self._packed, raw=False, strict_map_key=True)[0]
        return header

    def arrays(self, body: Frame) -> list[Array]:
        """Read-only views of `body`."""
        return [
            np.frombuffer(body, dtype, count, at).reshape(shape) if count else np.empty(shape, dtype)
            for dtype, shape, count, at in self.places
        ]


class Forms:
    """The forms that came lately, by their bytes; belongs to one thread at a time."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._known: dict[bytes, Form] = {}

    def of(self, packed: bytes) -> Form:
        """Raises `WireError` for what is none."""
        form = self._known.get(packed)
        if form is None:
            form = Form(packed, self._limits)
            if len(packed) <= KNOWN_BYTES:
                if len(self._known) >= KNOWN:
                    self._known.clear()  # somebody sends ever others: no reason to keep the order of use
                self._known[packed] = form
        return form


def unpack_form(frames: Sequence[Frame], forms: Forms, limits: Limits = LIMITS) -> tuple[Header, Form, Frame]:
    """Numbers, form and body. Raises `WireError`, whatever the frames hold."""
    if not 1 <= len(frames) <= FRAMES:
        raise WireError(f"expected 1 to {FRAMES} frames, got {len(frames)}")
    total = sum(map(len, frames))
    if total > limits.total_bytes:
        raise WireError(f"expected at most {limits.total_bytes} bytes, got {total}")
    value = unpack_value(frames[0], limits)
    if not isinstance(value, list) or len(value) + len(frames) != 4:
        raise WireError("expected [numbers, form], and the arrays' bytes in it or in a frame of their own")
    numbers, packed, body = value if len(value) == 3 else (*value, frames[1])
    if not (isinstance(numbers, dict) and isinstance(packed, bytes) and isinstance(body, bytes | memoryview)):
        raise WireError("expected a mapping of numbers, a form, and the arrays' bytes")
    form = forms.of(packed)
    if form.size != len(body):
        raise WireError(f"arrays of this form have {form.size} bytes, got {len(body)}")
    return numbers, form, body


def unpack(frames: Sequence[Frame], limits: Limits = LIMITS, forms: Forms | None = None) -> tuple[Header, list[Array]]:
    """Header and arrays (read-only views of the frames). Raises `WireError`, whatever the frames hold."""
    numbers, form, body = unpack_form(frames, forms or Forms(limits), limits)
    return {**form.header, **numbers}, form.arrays(body)


def pack_value(value: Any) -> bytes:
    """Msgpack of plain values: None, bool, int, float, str, bytes, lists and mappings with string keys."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"only plain values travel in a header: {error}") from error
    return packed


def unpack_value(frame: Frame, limits: Limits = LIMITS) -> Any:
    """The value in `frame`, after a scan of its structure. Raises `WireError`."""
    if len(frame) > limits.header_bytes:
        raise WireError(f"expected a header of at most {limits.header_bytes} bytes, got {len(frame)}")
    data = bytes(frame)
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

Place = tuple[Any, tuple[int, ...], int, int]
"""Of an array in a body: dtype, shape, entries, first byte."""


@lru_cache(64)
def _layout(arrays: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[bytes, tuple[int, ...]]:
    """[[dtype, shape], ...] as msgpack, and the bytes of each."""
    layout = pack_value([[_NAMES[code], list(shape)] for code, shape in arrays])
    return layout, tuple(math.prod(shape) * _LITTLE[_NAMES[code]].itemsize for code, shape in arrays)


def _places(described: Any, limits: Limits) -> tuple[list[Place], int]:
    """Where each array is, and the bytes of the body. Raises `WireError`."""
    if not isinstance(described, list) or len(described) > limits.arrays:
        raise WireError(f"expected a list of at most {limits.arrays} arrays")
    places: list[Place] = []
    at = 0
    for description in described:
        dtype, shape = _array(description, limits)
        places.append((dtype, shape, math.prod(shape), at))
        at += -(-math.prod(shape) * dtype.itemsize // ALIGN) * ALIGN
        if at > limits.total_bytes:
            raise WireError(f"expected arrays of at most {limits.total_bytes} bytes")
    return places, at


def _array(description: Any, limits: Limits) -> tuple[Any, tuple[int, ...]]:
    """Dtype and shape of an array that is described by [dtype, shape]."""
    if not (isinstance(description, list) and len(description) == 2 and isinstance(description[1], list)):
        raise WireError("expected [dtype, shape] for each array")
    name, shape = description
    if not isinstance(name, str) or name not in DTYPES:
        raise WireError(f"dtype {str(name)[:32]!r} is not allowed; valid: {', '.join(sorted(DTYPES))}")
    if len(shape) > 8 or not all(type(size) is int and 0 <= size <= limits.total_bytes for size in shape):
        raise WireError("expected a shape of at most 8 sizes >= 0")
    if math.prod(max(size, 1) for size in shape) > limits.total_bytes:
        raise WireError(f"expected an array of at most {limits.total_bytes} entries, got shape {shape}")
    return _LITTLE[name], tuple(shape)


def _little_endian(array: Array) -> Array:
    if array.dtype.str in _NAMES:
        return array
    if array.dtype.name not in DTYPES:
        raise WireError(f"an array of dtype {array.dtype} does not travel; valid: {', '.join(sorted(DTYPES))}")
    return array.astype(_LITTLE[array.dtype.name])
