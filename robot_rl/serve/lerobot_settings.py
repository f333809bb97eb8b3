"""`robot_rl.json` beside a lerobot checkpoint's `config.json`: what a robot must know and lerobot does not write down.

    {
      "step_s": 0.05,                                              seconds between two actions (1 / the dataset's fps)
      "state": {"tcp_pose": 7, "gripper_width": 1},                what `observation.state` is made of, in its order
      "cameras": {"observation.images.wrist_left": "wrist"},       where our camera has another name
      "prompt": "open the lid",                                    the task in words, for policies that read one
      "action": {"kind": "ee_delta", "names": ["x", "y", "z", "gripper"], "units": ["m", "m", "m", "m"],
                 "low": [-0.01, -0.01, -0.01, 0.0], "high": [0.01, 0.01, 0.01, 0.085]}
    }

Only `step_s` has no default. State is otherwise one value, `extra.state`. Of the action, names come from the checkpoint
where it has them, bounds from the statistics that it unnormalises with, and its kind and units are `lerobot`: nothing
there says what the numbers mean, and no robot accepts them until it is said here. Further keys: `noise` (false serves
a policy that takes none), `repeat_observation` (true serves a policy that reads several past observations with the
newest one in the place of each, as lerobot itself does at the start of an episode), `denoising_steps`, `device`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from robot_rl.errors import ConfigError, nearest
from robot_rl.wire.observations import PROPRIOCEPTION

NAME = "robot_rl.json"
SIZES: Mapping[str, int] = {"tcp_pose": 7, "gripper_width": 1, "wrench": 6}
"""Of the proprioception that is the same for all robots."""


@dataclass(frozen=True)
class ActionSettings:
    """`ActionSpace` as far as it is said; None is for the checkpoint to say."""

    kind: str = "lerobot"
    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


@dataclass(frozen=True)
class LeRobotSettings:
    """The file's content."""

    step_s: float
    """Seconds between two actions of a chunk."""
    state: Mapping[str, int] | None = None
    """Observation key -> its size; None for `extra.state` alone."""
    cameras: Mapping[str, str] = field(default_factory=dict)
    """lerobot's key of a picture -> the camera's name."""
    prompt: str | None = None
    action: ActionSettings = ActionSettings()
    noise: bool = True
    repeat_observation: bool = False
    denoising_steps: int | None = None
    device: str | None = None
    """torch's name of it; None for what the checkpoint's config says."""


def read_settings(folder: Path) -> LeRobotSettings:
    """Those of the checkpoint in `folder`. Raises `ConfigError`."""
    path = folder / NAME
    try:
        plain = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder}: a lerobot checkpoint does not say how far apart its actions are in time, nor what they mean: "
            f'write {NAME} there, at least {{"step_s": 0.05}}; robot_rl/serve/lerobot_settings.py shows all of it'
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: expected JSON, got {error}") from error
    return settings_from_plain(plain, str(path))


def settings_from_plain(plain: Any, where: str = NAME) -> LeRobotSettings:
    """Raises `ConfigError` that names the key of `where`, what it should be and what it is."""
    values = _known(plain, {each.name for each in fields(LeRobotSettings)}, where)
    step_s: Any = values.get("step_s")
    if not _is_number(step_s) or step_s <= 0:
        raise ConfigError(f"{where}: step_s: expected seconds between two actions, above 0, got {step_s!r}")
    _check(values, "prompt", where, lambda value: isinstance(value, str), "a text")
    _check(values, "device", where, lambda value: isinstance(value, str), "torch's name of a device")
    for key in ("noise", "repeat_observation"):
        _check(values, key, where, lambda value: isinstance(value, bool), "true or false")
    _check(values, "denoising_steps", where, lambda value: type(value) is int and value >= 1, "a number from 1 on")
    _check(values, "cameras", where, _is_texts, "lerobot's keys and our names of cameras")
    if "state" in values:
        _check(values, "state", where, _is_sizes, "keys of our observation and their sizes, from 1 on")
        for key, size in values["state"].items():
            _check_state(key, size, where)
    if "action" in values:
        values["action"] = _action(values["action"], f"{where}: action")
    return LeRobotSettings(**values)


def _action(plain: Any, where: str) -> ActionSettings:
    values = _known(plain, {each.name for each in fields(ActionSettings)}, where)
    _check(values, "kind", where, lambda value: isinstance(value, str), "a text")
    for key in ("names", "units"):
        _check(values, key, where, lambda value: _is_list(value, lambda each: isinstance(each, str)), "a list of texts")
    for key in ("low", "high"):
        _check(values, key, where, lambda value: _is_list(value, _is_number), "a list of numbers")
    lists = {key: tuple(value) for key, value in values.items() if key != "kind"}
    return ActionSettings(values.get("kind", ActionSettings.kind), **lists)


def _check_state(key: str, size: int, where: str) -> None:
    if key not in PROPRIOCEPTION and not key.startswith("extra."):
        raise ConfigError(f"{where}: state: {key!r} is no key{nearest(key, [*PROPRIOCEPTION, 'extra.NAME'])}")
    if size != SIZES.get(key, size):
        raise ConfigError(f"{where}: state: {key}: expected {SIZES[key]} numbers, got {size}")


def _known(plain: Any, names: set[str], where: str) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise ConfigError(f"{where}: expected a JSON object, got {type(plain).__name__}")
    for key in plain:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, names)}")
    return dict(plain)


def _check(values: Mapping[str, Any], key: str, where: str, good: Any, expected: str) -> None:
    if key in values and not good(values[key]):
        raise ConfigError(f"{where}: {key}: expected {expected}, got {values[key]!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any, good: Any) -> bool:
    return isinstance(value, list) and all(map(good, value))


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _is_sizes(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(type(size) is int and size >= 1 for size in value.values())
