"""JSON out of messages, and dataclasses out of JSON that may be damaged or foreign."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from robot_rl.errors import IntegrityError, StoreError

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
"""What a message may hold."""

Record = TypeVar("Record")


def encode(message: Mapping[str, Any], where: str) -> bytes:
    """`message` as compact JSON; numbers that are not finite become "NaN", "Infinity" and "-Infinity" as in protobuf.

    Raises `StoreError`, naming `where`, for what JSON cannot hold.
    """
    try:
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(_finite(message), allow_nan=False, separators=(",", ":")).encode()
    except TypeError as error:
        raise StoreError(f"{where}: expected what JSON can hold (lists for arrays): {error}; not recorded") from error


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def record(kind: type[Record], raw: object, where: str) -> Record:
    """An instance of the dataclass `kind` from the JSON object `raw`.

    Fields may be str, int of 64 bits, float, bool, a `Literal`, another such dataclass, or a mapping with str keys.
    Raises `IntegrityError`, naming `where`, for a missing or unknown key or a value of another type.
    """
    hints = _hints(kind)  # type: ignore[arg-type]
    names = list(hints)
    if not isinstance(raw, dict) or set(raw) != set(names):
        got = sorted(raw) if isinstance(raw, dict) else type(raw).__name__
        raise IntegrityError(f"{where}: expected the keys {sorted(names)}, got {got}; not used")
    return kind(**{name: _value(hints[name], raw[name], f"{where}.{name}") for name in names})


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    """Field -> type, in the order of fields."""
    return get_type_hints(kind)


def _value(hint: Any, value: object, where: str) -> Any:
    if type(value) is hint:
        if type(value) is not int or -(2**63) <= value < 2**63:  # SQLite and msgpack hold no more
            return value
    elif hint is Any:
        return value
    elif is_dataclass(hint):
        return record(hint, value, where)  # type: ignore[arg-type]
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise IntegrityError(f"{where}: expected one of {get_args(hint)}, got {value!r}; not used")
    elif get_origin(hint) is Mapping:
        if isinstance(value, dict):
            return {key: _value(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    elif hint is float and type(value) is int:
        return float(value)
    raise IntegrityError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r:.80}; not used")
