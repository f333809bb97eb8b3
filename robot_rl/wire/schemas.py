"""The dataclasses of this project as plain values and arrays, and back, checked field by field.

A dataclass becomes a mapping of its fields; an array becomes its index among the message's arrays; an enum its value;
a tuple a list. Reading goes by the declared types: whatever else comes raises `WireError` with the field's name, what
was expected and what came. A field that has a default may be missing; an unknown one is refused.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from robot_rl.errors import WireError
from robot_rl.types import Array

T = TypeVar("T")


def to_plain(value: Any, arrays: list[Array]) -> Any:
    """`value` as plain values; its arrays are appended to `arrays`."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return len(arrays) - 1
    if type(value) in (int, float, str, bytes):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value):
        return {name: to_plain(getattr(value, name), arrays) for name in _names_of(typing.cast(Hashable, type(value)))}
    if isinstance(value, Mapping):
        return {key: to_plain(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, arrays) for item in value]
    return value


@functools.cache
def _names_of(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def from_plain(kind: type[T], plain: Any, arrays: Sequence[Array]) -> T:
    """A `kind` (a dataclass, or a type such as `list[Observation]`) from what `to_plain` made. Raises `WireError`."""
    value: T = _reader(typing.cast(Hashable, kind))(plain, arrays, getattr(kind, "__name__", str(kind)))
    return value


Reader = Callable[[Any, Sequence[Array], str], Any]
"""(plain, arrays, place) -> value; `place` is for the error."""


@functools.cache
def _reader(kind: Any) -> Reader:
    """How to read a `kind`, worked out once."""
    kind = _unnamed(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda plain, arrays, place: plain
    if origin in (typing.Union, types.UnionType):
        return _union_reader([None if inner is type(None) else _reader(inner) for inner in arguments])
    if origin is np.ndarray:
        return _read_array
    if origin is typing.Literal:
        return _literal_reader(arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(_reader(arguments[1]))
    if origin is not None and issubclass(origin, Sequence):
        return _list_reader(_reader(arguments[0]))
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum_reader(kind)
    return _plain_reader(kind)


def _unnamed(kind: Any) -> Any:
    """What a `type X = ...` stands for: on Python 3.12 and newer, numpy's NDArray is one."""
    alias = typing.get_origin(kind) or kind
    return alias.__value__ if type(alias).__name__ == "TypeAliasType" else kind


def _read_array(plain: Any, arrays: Sequence[Array], place: str) -> Array:
    if type(plain) is not int or not 0 <= plain < len(arrays):
        raise _wrong(place, f"the index of one of {len(arrays)} arrays", plain)
    return arrays[plain]


def _union_reader(readers: Sequence[Reader | None]) -> Reader:
    """Tries `readers` in turn; in practice one of them and None."""

    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        if plain is None and None in readers:
            return None
        for reader in readers:
            try:
                if reader is not None:
                    return reader(plain, arrays, place)
            except WireError as error:
                reason = error
        raise reason

    return read


def _literal_reader(values: Sequence[Any]) -> Reader:
    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        if plain not in values:
            raise _wrong(place, f"one of {values}", plain)
        return plain

    return read


def _enum_reader(kind: type[enum.Enum]) -> Reader:
    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        try:
            return kind(plain)
        except ValueError:
            raise _wrong(place, f"one of {[member.value for member in kind]}", plain) from None

    return read


def _tuple_reader(kinds: Sequence[Any]) -> Reader:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        entries = _list_reader(_reader(kinds[0]))
        return lambda plain, arrays, place: tuple(entries(plain, arrays, place))
    readers = [_reader(kind) for kind in kinds]

    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        items = _expect(list, plain, place)
        if len(items) != len(readers):
            raise _wrong(place, f"{len(readers)} entries", plain)
        pairs = zip(readers, items, strict=True)
        return tuple(reader(item, arrays, f"{place}[{i}]") for i, (reader, item) in enumerate(pairs))

    return read


def _mapping_reader(reader: Reader) -> Reader:
    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        mapping = _expect(dict, plain, place)
        return {key: reader(item, arrays, f"{place}.{key}") for key, item in mapping.items()}

    return read


def _list_reader(reader: Reader) -> Reader:
    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        items = _expect(list, plain, place)
        return [reader(item, arrays, f"{place}[{i}]") for i, item in enumerate(items)]

    return read


def _dataclass_reader(kind: Any) -> Reader:
    hints, fields = typing.get_type_hints(kind), dataclasses.fields(kind)
    readers = {f.name: _reader(hints[f.name]) for f in fields}
    required = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}

    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        mapping = _expect(dict, plain, place)
        if not readers.keys() >= mapping.keys() >= required:
            unknown, missing = mapping.keys() - readers.keys(), required - mapping.keys()
            found = f"missing {sorted(missing)}, unknown {sorted(key[:32] for key in unknown)}"
            raise WireError(f"{place}: expected {', '.join(readers)}; {found}")
        return kind(**{name: readers[name](item, arrays, f"{place}.{name}") for name, item in mapping.items()})

    return read


def _plain_reader(kind: type) -> Reader:
    def read(plain: Any, arrays: Sequence[Array], place: str) -> Any:
        if kind is float and type(plain) is int:
            return plain  # kept as it is: the hash of a spec must survive the journey
        return _expect(kind, plain, place)

    return read


def _expect(kind: type[T], plain: Any, place: str) -> T:
    if type(plain) is not kind:
        raise _wrong(place, kind.__name__, plain)
    return plain


def _wrong(place: str, expected: str, plain: Any) -> WireError:
    got = "None" if plain is None else f"{type(plain).__name__} {repr(plain)[:40]}"
    return WireError(f"{place}: expected {expected}, got {got}")
