"""One message = one frame: a fixed head, a msgpack header, and the raw bytes of all arrays.

    bytes 0-3     size of the form                   4-7     zero
    bytes 8-15    the message's number               16-23   seconds until its deadline (NaN: none)
    from 24 on    the form: msgpack of [header, [[dtype, shape], ...]]
    then          the arrays' bytes in their order, in C order; each, and the first, from a multiple of 8 bytes on

Everything is little-endian. What changes with every message is in the head, so messages of one kind have one form, byte
for byte: who gets many of them keeps their `Forms`, and reads and checks each once; who sends many keeps a `Packer`.

Everything that comes from outside is checked before it is decoded: the frame's size, then the form's bytes by a scan
that builds no object (depth, items, lengths against what is really there, string keys, no extension types), then each
array's dtype against a list and all their shapes against the exact number of bytes. Whatever fails raises `WireError`;
nothing here ever unpickles or evaluates.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from robot_rl.errors import WireError
from robot_rl.types import Array
from robot_rl.wire.values import LIMITS, Header, Limits, pack_value, unpack_checked, unpack_value

Frame = bytes | bytearray | memoryview

DTYPES = frozenset(
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
)
"""What an array may be made of."""
_LITTLE = {name: np.dtype(name).newbyteorder("<") for name in DTYPES}

HEAD = struct.Struct("<IIqd")
"""Size of the form, zero, number, seconds until the deadline."""
NO_DEADLINE = math.nan
ALIGN = 8
"""Bytes; what numpy wants of the widest dtype."""
KNOWN, KNOWN_BYTES = 64, 1024
"""Forms that are remembered, and how long one of them may be: what a peer can make of that is a megabyte or two."""
KINDS, KINDS_BYTES = 16, 2**22
"""Kinds of messages for which a sender keeps memory, and how large one of these may be."""


# --- sending --------------------------------------------------------------------------------------------------------


class Packed(bytes):
    """A header as msgpack: who sends the same one often packs it once (`packed`)."""

    __slots__ = ()


def packed(header: Mapping[str, Any]) -> Packed:
    """Raises `WireError` for a value that has no place in one."""
    return Packed(pack_value(dict(header)))


def pack(
    number: int, header: Mapping[str, Any] | Packed, arrays: Sequence[Array] = (), remaining_s: float = NO_DEADLINE
) -> bytearray:
    """A message. Raises `WireError` for an array or a value that has no place in one."""
    kind = _Kind(header if isinstance(header, Packed) else packed(header), _kind_of(arrays))
    return kind.fill(number, arrays, remaining_s)


class Packer:
    """Makes messages one after the other, those of one kind in the same memory: fresh pages would cost more than the
    copy. Belongs to one thread.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[Packed, _KindOf], _Kind] = {}

    def pack(
        self, number: int, header: Packed, arrays: Sequence[Array] = (), remaining_s: float = NO_DEADLINE
    ) -> bytearray:
        """As `pack`; good until the next message."""
        key = header, _kind_of(arrays)
        kind = self._kinds.get(key)
        if kind is None:
            kind = _Kind(*key)
            if kind.size <= KINDS_BYTES:
                if len(self._kinds) >= KINDS:
                    self._kinds.clear()
                self._kinds[key] = kind
        return kind.fill(number, arrays, remaining_s)


_KindOf = tuple[tuple[Any, tuple[int, ...]], ...]
"""Dtype and shape of each array of a message."""


def _kind_of(arrays: Sequence[Array]) -> _KindOf:
    return tuple([(array.dtype, array.shape) for array in arrays])


class _Kind:
    """Messages that differ in their numbers and in what their arrays hold, in memory of their own."""

    __slots__ = ("_memory", "_parts", "size")

    def __init__(self, header: Packed, arrays: _KindOf) -> None:
        names, sizes = _layout(arrays)
        form = b"\x92" + header + names  # a list of two
        at = _aligned(HEAD.size + len(form))
        self.size = at + sum(map(_aligned, sizes))
        self._memory = bytearray(self.size)
        HEAD.pack_into(self._memory, 0, len(form), 0, 0, NO_DEADLINE)
        self._memory[HEAD.size : HEAD.size + len(form)] = form
        self._parts: list[Array] = []
        """Where each array goes; what is between them is zero, and stays so."""
        for (dtype, shape), size in zip(arrays, sizes, strict=True):
            self._parts.append(np.ndarray(shape, _LITTLE[dtype.name], self._memory, at if size else 0))
            at += _aligned(size)

    def fill(self, number: int, arrays: Sequence[Array], remaining_s: float) -> bytearray:
        """Good until it is filled again."""
        for part, array in zip(self._parts, arrays, strict=True):
            part[...] = array
        try:
            _NUMBERS.pack_into(self._memory, 8, number, remaining_s)
        except struct.error as error:
            raise WireError(f"expected a number of 64 bits and seconds, got {number!r}, {remaining_s!r}") from error
        return self._memory


_NUMBERS = struct.Struct("<qd")
"""The second half of `HEAD`."""


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


# --- receiving ------------------------------------------------------------------------------------------------------


class Message(NamedTuple):
    """What came."""

    number: int
    remaining_s: float
    """NaN if it was not said."""
    form: Form
    body: Frame

    def arrays(self) -> list[Array]:
        """Read-only views of the frame."""
        return self.form.arrays(self.body)


class Form:
    """What messages of one kind have in common: their header, and what their arrays are."""

    __slots__ = ("_packed", "again", "begin", "fixed", "places", "size")

    def __init__(self, packed: bytes, limits: Limits) -> None:
        """Raises `WireError` unless it is a header and the arrays' dtypes and shapes."""
        value = unpack_value(packed, limits)
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], dict)):
            raise WireError("expected a form [mapping, arrays]")
        self.fixed: Mapping[str, Any] = value[0]
        """The header, for who only reads it."""
        self.begin = _aligned(HEAD.size + len(packed))
        """Where in a frame the arrays are."""
        self.places, size = _places(value[1], self.begin, limits)
        self.size = self.begin + size
        """Bytes of a frame of this form."""
        self.again: Any = None
        """For who reads such messages: how to read the next one, once one was read."""
        self._packed = packed

    @property
    def header(self) -> Header:
        """A new one each time: whoever gets it may change it."""
        header: Header = unpack_checked(self._packed)[0]
        return header

    def arrays(self, frame: Frame) -> list[Array]:
        """Read-only views of `frame`."""
        return [np.ndarray(shape, dtype, frame, at) for dtype, shape, at in self.places]


class Forms:
    """The forms that came lately, by their bytes; belongs to one thread at a time."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._known: dict[bytes, Form] = {}

    def of(self, packed: bytes) -> Form:
        """Raises `WireError` for what is none."""
        form = self._known.get(packed)
        if form is None:
            form = Form(packed, self.limits)
            if len(packed) <= KNOWN_BYTES:
                if len(self._known) >= KNOWN:
                    self._known.clear()  # somebody sends ever others: no reason to keep the order of use
                self._known[packed] = form
        return form


def unpack(frame: Frame, forms: Forms) -> Message:
    """Raises `WireError`, whatever the frame holds."""
    total = len(frame)
    if not HEAD.size < total <= forms.limits.total_bytes:
        raise WireError(f"expected more than {HEAD.size} and at most {forms.limits.total_bytes} bytes, got {total}")
    size, zero, number, remaining_s = HEAD.unpack_from(frame)
    if zero or size > forms.limits.header_bytes or HEAD.size + size > total:
        raise WireError(f"expected a form of at most {forms.limits.header_bytes} bytes, got {size} in {total}")
    form = forms.of(bytes(frame[HEAD.size : HEAD.size + size]))
    if form.size != total:
        raise WireError(f"a message of this form has {form.size} bytes, got {total}")
    return Message(number, remaining_s, form, frame)


# --- arrays ---------------------------------------------------------------------------------------------------------

Place = tuple[Any, tuple[int, ...], int]
"""Of an array in a frame: dtype, shape, first byte (of one without entries: any)."""


@lru_cache(64)
def _layout(arrays: _KindOf) -> tuple[bytes, tuple[int, ...]]:
    """[[dtype, shape], ...] as msgpack, and the bytes of each. Raises `WireError`."""
    for dtype, _ in arrays:
        if dtype.name not in DTYPES:
            raise WireError(f"an array of dtype {dtype} does not travel; valid: {', '.join(sorted(DTYPES))}")
    layout = pack_value([[dtype.name, list(shape)] for dtype, shape in arrays])
    return layout, tuple(math.prod(shape) * int(dtype.itemsize) for dtype, shape in arrays)


def _places(described: Any, begin: int, limits: Limits) -> tuple[list[Place], int]:
    """Where each array is in a frame whose body begins there, and the bytes of the body. Raises `WireError`."""
    if not isinstance(described, list) or len(described) > limits.arrays:
        raise WireError(f"expected a list of at most {limits.arrays} arrays")
    places: list[Place] = []
    at = 0
    for description in described:
        dtype, shape = _array(description, limits)
        size = math.prod(shape) * dtype.itemsize
        places.append((dtype, shape, begin + at if size else 0))
        at += _aligned(size)
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
