"""Plain values as msgpack; what comes from outside is walked before anything is built of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from robot_rl.errors import WireError

Header = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a message may weigh."""

    arrays: int = 4096
    header_bytes: int = 2**20
    """With the layout."""
    total_bytes: int = 2**26
    depth: int = 16
    """Nesting of lists and mappings in the header."""
    items: int = 2**16
    """Values and keys in the header, all together."""


LIMITS = Limits()
"""What a stranger may send; of every socket but those that hear a run's own processes."""
OWN = Limits(header_bytes=2**25, items=2**22)
"""What a run's own processes may answer: lists that grow with the run. Of 100,000 episodes they fit."""


def pack_value(value: Any) -> bytes:
    """Msgpack of plain values: None, bool, int, float, str, bytes, lists and mappings with string keys."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"only plain values travel in a header: {error}") from error
    return packed


def unpack_value(frame: bytes | bytearray | memoryview, limits: Limits = LIMITS) -> Any:
    """The value in `frame`, after a scan of its structure. Raises `WireError`."""
    if len(frame) > limits.header_bytes:
        raise WireError(f"expected a header of at most {limits.header_bytes} bytes, got {len(frame)}")
    data = bytes(frame)
    _scan(data, limits)
    try:
        return unpack_checked(data)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise WireError(f"not msgpack: {type(error).__name__}") from error


def unpack_checked(data: bytes) -> Any:
    """The value in what `unpack_value` has read before."""
    return msgpack.unpackb(data, raw=False, strict_map_key=True)


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
