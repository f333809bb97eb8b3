"""CDR, as ROS 2 serialises messages: little-endian, each number at a multiple of its size behind the first 4 bytes.

As much of it as a recording needs; nothing of ROS has to be installed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

ENCAPSULATION = b"\x00\x01\x00\x00"
"""What every message begins with: plain CDR, little-endian."""


class CdrWriter:
    """A message, field after field in the order of its definition; `data` is what there is of it."""

    def __init__(self) -> None:
        self.data = bytearray(ENCAPSULATION)

    def number(self, form: str, value: float) -> CdrWriter:
        """`form` as `struct` names it: B uint8, i int32, I uint32, d float64."""
        self._align(struct.calcsize(form))
        self.data += struct.pack(f"<{form}", value)
        return self

    def text(self, value: bytes) -> CdrWriter:
        """A string in UTF-8; its length counts the zero behind it."""
        self.number("I", len(value) + 1)
        self.data += value + b"\0"
        return self

    def texts(self, values: Sequence[str]) -> CdrWriter:
        """string[]."""
        self.number("I", len(values))
        for value in values:
            self.text(value.encode())
        return self

    def floats(self, values: Sequence[float]) -> CdrWriter:
        """float64[]."""
        self.number("I", len(values))
        if values:
            self._align(8)
        self.data += struct.pack(f"<{len(values)}d", *values)
        return self

    def octets(self, value: bytes) -> CdrWriter:
        """uint8[]."""
        self.number("I", len(value))
        self.data += value
        return self

    def _align(self, size: int) -> None:
        self.data += bytes(-(len(self.data) - len(ENCAPSULATION)) % size)


class CdrReader:
    """Reads what `CdrWriter` wrote. Raises `ValueError` for bytes that end early or begin otherwise."""

    def __init__(self, data: bytes) -> None:
        if data[: len(ENCAPSULATION)] != ENCAPSULATION:
            raise ValueError(f"expected CDR, little-endian, got {data[:4].hex()}")
        self._data, self._at = data, len(ENCAPSULATION)

    def integer(self, form: str) -> int:
        """`form`: B, i or I."""
        size = struct.calcsize(form)
        self._at += -(self._at - len(ENCAPSULATION)) % size
        (value,) = struct.unpack(f"<{form}", self._take(size))
        return int(value)

    def text(self) -> bytes:
        """A string, without the zero behind it."""
        value = self._take(self.integer("I"))
        if value[-1:] != b"\0":
            raise ValueError("expected a string with a zero behind it")
        return value[:-1]

    def octets(self) -> bytes:
        return self._take(self.integer("I"))

    def view(self) -> memoryview:
        """A uint8[] where it is: nothing is copied."""
        return memoryview(self._data)[self._next(self.integer("I"))]

    def _take(self, size: int) -> bytes:
        return self._data[self._next(size)]

    def _next(self, size: int) -> slice:
        at, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ValueError(f"expected {size} bytes at {at} of {len(self._data)}")
        return slice(at, self._at)
