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
from collections.abc import Mapping, Sequence
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
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, np.generic):
        return value.item()
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, arrays) for item in value]
    return value


def from_plain(kind: type[T], plain: Any, arrays: Sequence[Array]) -> T:
    """A `kind` (a dataclass, or a type such as `list[Observation]`) from what `to_plain` made. Raises `WireError`."""
    value: T = _read(kind, plain, arrays, getattr(kind, "__name__", str(kind)))
    return value


def _read(kind: Any, plain: Any, arrays: Sequence[Array], place: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return plain
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, plain, arrays, place)
    if origin is np.ndarray:
        if type(plain) is not int or not 0 <= plain < len(arrays):
            raise _wrong(place, f"the index of one of {len(arrays)} arrays", plain)
        return arrays[plain]
    if origin is typing.Literal:
        if plain not in arguments:
            raise _wrong(place, f"one of {arguments}", plain)
        return plain
    if origin is tuple:
        return _read_tuple(arguments, plain, arrays, place)
    if origin is not None and issubclass(origin, Mapping):
        mapping = _expect(dict, plain, place)
        return {key: _read(arguments[1], item, arrays, f"{place}.{key}") for key, item in mapping.items()}
    if origin is not None and issubclass(origin, Sequence):
        items = _expect(list, plain, place)
        return [_read(arguments[0], item, arrays, f"{place}[{i}]") for i, item in enumerate(items)]
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, plain, arrays, place)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(plain)
        except ValueError:
            raise _wrong(place, f"one of {[member.value for member in kind]}", plain) from None
    if kind is float and type(plain) is int:
        return plain  # kept as it is: the hash of a spec must survive the journey
    return _expect(kind, plain, place)


def _read_union(kinds: Sequence[Any], plain: Any, arrays: Sequence[Array], place: str) -> Any:
    """Tries `kinds` in turn; in practice one of them and None."""
    for kind in kinds:
        if kind is type(None):
            if plain is None:
                return None
            continue
        try:
            return _read(kind, plain, arrays, place)
        except WireError as error:
            reason = error
    raise reason


def _read_tuple(kinds: Sequence[Any], plain: Any, arrays: Sequence[Array], place: str) -> Any:
    items = _expect(list, plain, place)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = [kinds[0]] * len(items)
    if len(items) != len(kinds):
        raise _wrong(place, f"{len(kinds)} entries", plain)
    pairs = zip(kinds, items, strict=True)
    return tuple(_read(kind, item, arrays, f"{place}[{i}]") for i, (kind, item) in enumerate(pairs))


def _read_dataclass(kind: Any, plain: Any, arrays: Sequence[Array], place: str) -> Any:
    mapping = _expect(dict, plain, place)
    kinds, required = _fields_of(kind)
    unknown, missing = mapping.keys() - kinds.keys(), required - mapping.keys()
    if unknown or missing:
        found = f"missing {sorted(missing)}, unknown {sorted(key[:32] for key in unknown)}"
        raise WireError(f"{place}: expected {', '.join(kinds)}; {found}")
    return kind(**{name: _read(kinds[name], item, arrays, f"{place}.{name}") for name, item in mapping.items()})


@functools.cache
def _fields_of(kind: type) -> tuple[dict[str, Any], frozenset[str]]:
    """Field name -> declared type, and the names without a default."""
    hints, fields = typing.get_type_hints(kind), dataclasses.fields(kind)
    required = (f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
    return {f.name: hints[f.name] for f in fields}, frozenset(required)


def _expect(kind: type[T], plain: Any, place: str) -> T:
    if type(plain) is not kind:
        raise _wrong(place, kind.__name__, plain)
    return plain


def _wrong(place: str, expected: str, plain: Any) -> WireError:
    got = "None" if plain is None else f"{type(plain).__name__} {repr(plain)[:40]}"
    return WireError(f"{place}: expected {expected}, got {got}")
