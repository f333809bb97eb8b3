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

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from robot_rl.errors import ConfigError
from robot_rl.serve.settings import (
    ActionSettings,
    action_from_plain,
    check,
    check_state,
    is_count,
    is_sizes,
    is_texts,
    known,
    read_object,
    step_s,
)

NAME = "robot_rl.json"
KIND = "lerobot"
"""Of an action whose meaning nobody has said."""
UNSAID = ActionSettings(KIND)


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
    action: ActionSettings = UNSAID
    noise: bool = True
    repeat_observation: bool = False
    denoising_steps: int | None = None
    device: str | None = None
    """torch's name of it; None for what the checkpoint's config says."""


def read_settings(folder: Path) -> LeRobotSettings:
    """Those of the checkpoint in `folder`. Raises `ConfigError`."""
    path = folder / NAME
    if not path.exists():
        raise ConfigError(
            f"{folder}: a lerobot checkpoint does not say how far apart its actions are in time, nor what they mean: "
            f'write {NAME} there, at least {{"step_s": 0.05}}; robot_rl/serve/lerobot_settings.py shows all of it'
        )
    return settings_from_plain(read_object(path, "settings beside a lerobot checkpoint"), str(path))


def settings_from_plain(plain: Any, where: str = NAME) -> LeRobotSettings:
    """Raises `ConfigError` that names the key of `where`, what it should be and what it is."""
    values = known(plain, {each.name for each in fields(LeRobotSettings)}, where)
    step_s(values, where)
    check(values, "prompt", where, lambda value: isinstance(value, str), "a text")
    check(values, "device", where, lambda value: isinstance(value, str), "torch's name of a device")
    for key in ("noise", "repeat_observation"):
        check(values, key, where, lambda value: isinstance(value, bool), "true or false")
    check(values, "denoising_steps", where, is_count, "a number from 1 on")
    check(values, "cameras", where, is_texts, "lerobot's keys and our names of cameras")
    if "state" in values:
        check(values, "state", where, is_sizes, "keys of our observation and their sizes, from 1 on")
        for key, size in values["state"].items():
            check_state(key, size, f"{where}: state")
    if "action" in values:
        values["action"] = action_from_plain(values["action"], f"{where}: action", KIND)
    return LeRobotSettings(**values)
