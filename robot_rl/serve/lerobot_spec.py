"""What a lerobot checkpoint reads and gives, in our words: from its config, its statistics and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robot_rl.errors import ConfigError, nearest
from robot_rl.serve.lerobot_settings import NAME, LeRobotSettings
from robot_rl.types import ActionSpace

STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
EMPTY = "empty_camera"
"""In the key of a picture that the checkpoint was trained without; lerobot fills it itself."""

Keys = Mapping[str, tuple[str, ...]]
"""lerobot's key -> the keys of ours whose values it is, one after the other."""


def observed(config: Any, settings: LeRobotSettings) -> tuple[Keys, dict[str, tuple[int, ...]]]:
    """What is to be shown: by lerobot's keys, and the shapes as a `PolicySpec` says them. Raises `ConfigError`."""
    features: Mapping[str, Any] = config.input_features
    if STATE not in features:
        raise ConfigError(f"the checkpoint reads no {STATE}{nearest(STATE, features)}: such a policy is not served")
    for key in settings.cameras:
        if key not in features:
            raise ConfigError(f"{NAME}: cameras: the checkpoint has no {key!r}{nearest(key, features)}")
    keys: dict[str, tuple[str, ...]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for key, feature in features.items():
        shape, kind = tuple(feature.shape), str(feature.type).rpartition(".")[2]
        if key == STATE:
            parts = _state(shape, settings)
            keys[key] = tuple(parts)
            shapes.update({part: () if part == "gripper_width" else (size,) for part, size in parts.items()})
        elif key == ENVIRONMENT:
            keys[key] = ("extra.environment_state",)
            shapes["extra.environment_state"] = shape
        elif kind == "VISUAL":
            if EMPTY not in key:
                ours = f"images.{settings.cameras.get(key, key.rpartition('.')[2])}"
                if ours in shapes:
                    raise ConfigError(f"{NAME}: cameras: two pictures of the checkpoint are called {ours!r}")
                keys[key], shapes[ours] = (ours,), (*shape[1:], shape[0])
        else:
            raise ConfigError(f"the checkpoint reads {key!r} ({kind}), which no observation here has")
    return keys, shapes


def _state(shape: tuple[int, ...], settings: LeRobotSettings) -> Mapping[str, int]:
    parts = {"extra.state": shape[0]} if settings.state is None else settings.state
    if (sum(parts.values()),) != shape:
        raise ConfigError(
            f"{NAME}: state: expected {shape[0]} numbers in all, as the checkpoint's {STATE} has, "
            f"got {sum(parts.values())} ({', '.join(parts)})"
        )
    return parts


def action_space(config: Any, postprocess: Any, settings: LeRobotSettings) -> ActionSpace:
    """What its actions are, as far as that is known; bounds are those of the data that it was trained on.

    Raises `ConfigError` for what does not fit together, and for bounds that neither file has.
    """
    size, said = int(config.output_features[ACTION].shape[0]), settings.action
    names = said.names or tuple(getattr(config, "action_feature_names", None) or ())
    low, high = (
        said_it or _statistic(postprocess, which) for said_it, which in ((said.low, "min"), (said.high, "max"))
    )
    space = ActionSpace(
        said.kind,
        names or tuple(f"action.{index}" for index in range(size)),
        said.units or ("lerobot",) * size,
        low or (),
        high or (),
    )
    for key in ("names", "units", "low", "high"):
        if (got := len(getattr(space, key))) != size:
            raise ConfigError(f"{NAME}: action: {key}: expected {size} as the checkpoint's action has, got {got}")
    if not all(a < b for a, b in zip(space.low, space.high, strict=True)):
        raise ConfigError(
            f"{NAME}: action: expected low below high, got {space.low} and {space.high}: write both there"
        )
    return space


def _statistic(postprocess: Any, which: str) -> tuple[float, ...]:
    """Of the actions that it was trained on, in their units; () where the checkpoint has none."""
    for step in postprocess.steps:
        found = step.state_dict().get(f"{ACTION}.{which}") if hasattr(step, "state_dict") else None
        if found is not None:
            return tuple(float(number) for number in found.reshape(-1))
    return ()
