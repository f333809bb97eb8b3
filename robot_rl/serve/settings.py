"""What settings files beside others' checkpoints have in common: how they are checked, and how a space is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from robot_rl.errors import ConfigError, nearest
from robot_rl.wire.observations import PROPRIOCEPTION

SIZES: Mapping[str, int] = {"tcp_pose": 7, "gripper_width": 1, "wrench": 6}
"""Of the proprioception that is the same for all robots."""


@dataclass(frozen=True)
class ActionSettings:
    """`ActionSpace` as far as it is said; None is for the checkpoint to say."""

    kind: str
    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


def read_object(path: Path, what: str) -> Any:
    """The JSON in `path`. Raises `ConfigError`; `what` says what the file should be."""
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: expected {what}, got {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: expected JSON, got {error}") from error


def action_from_plain(plain: Any, where: str, kind: str) -> ActionSettings:
    """`kind` is what it is where the file does not say. Raises `ConfigError`."""
    values = known(plain, {each.name for each in fields(ActionSettings)}, where)
    check(values, "kind", where, lambda value: isinstance(value, str), "a text")
    for key in ("names", "units"):
        check(values, key, where, lambda value: is_list(value, lambda each: isinstance(each, str)), "a list of texts")
    for key in ("low", "high"):
        check(values, key, where, lambda value: is_list(value, is_number), "a list of numbers")
    lists = {key: tuple(value) for key, value in values.items() if key != "kind"}
    return ActionSettings(values.get("kind", kind), **lists)


def check_state(key: str, size: int, where: str) -> None:
    """Raises `ConfigError` unless an observation may have `size` numbers called `key`."""
    if key not in PROPRIOCEPTION and not key.startswith("extra."):
        raise ConfigError(f"{where}: {key!r} is no key{nearest(key, [*PROPRIOCEPTION, 'extra.NAME'])}")
    if size != SIZES.get(key, size):
        raise ConfigError(f"{where}: {key}: expected {SIZES[key]} numbers, got {size}")


def known(plain: Any, names: set[str], where: str) -> dict[str, Any]:
    """A copy of a JSON object that has no other keys than `names`. Raises `ConfigError`."""
    if not isinstance(plain, dict):
        raise ConfigError(f"{where}: expected a JSON object, got {type(plain).__name__}")
    for key in plain:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, names)}")
    return dict(plain)


def check(values: Mapping[str, Any], key: str, where: str, good: Callable[[Any], bool], expected: str) -> None:
    """Raises `ConfigError` if `key` is there and not `good`."""
    if key in values and not good(values[key]):
        raise ConfigError(f"{where}: {key}: expected {expected}, got {values[key]!r}")


def step_s(values: Mapping[str, Any], where: str) -> float:
    """Seconds between two actions, the one key that has no default. Raises `ConfigError`."""
    found: Any = values.get("step_s")
    if not is_number(found) or found <= 0:
        raise ConfigError(f"{where}: step_s: expected seconds between two actions, above 0, got {found!r}")
    return float(found)


def is_number(value: Any) -> bool:
    """Finite, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any) -> bool:
    """A whole number from 1 on."""
    return type(value) is int and value >= 1


def is_list(value: Any, good: Callable[[Any], bool]) -> bool:
    """A list of good ones."""
    return isinstance(value, list) and all(map(good, value))


def is_texts(value: Any) -> bool:
    """A mapping of texts to texts."""
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def is_sizes(value: Any) -> bool:
    """A mapping of texts to counts, and not an empty one."""
    return isinstance(value, dict) and bool(value) and all(map(is_count, value.values()))
