"""What `openpi:SETTINGS.json` names: which policy of openpi, and what a robot must know that openpi does not say.

    {
      "config": "pi05_droid",                                              openpi's training config
      "checkpoint": "gs://openpi-assets/checkpoints/pi05_droid",           its folder, here or where openpi fetches it
      "step_s": 0.066667,                                                  seconds between two actions
      "observation": {                                                     what it reads, by openpi's keys:
        "observation/exterior_image_1_left": {"images.front": [224, 224, 3]},
        "observation/wrist_image_left": {"images.wrist": [224, 224, 3]},
        "observation/joint_position": {"q": 7},                            ours and their sizes, one after the other
        "observation/gripper_position": {"gripper_width": 1}
      },
      "prompt": "open the lid",
      "action": {"names": ["j1", "j2", "j3", "j4", "j5", "j6", "j7", "gripper"], "kind": "joint_velocity",
                 "units": ["rad/s", "rad/s", "rad/s", "rad/s", "rad/s", "rad/s", "rad/s", "1"],
                 "low": [-1, -1, -1, -1, -1, -1, -1, 0], "high": [1, 1, 1, 1, 1, 1, 1, 1]}
    }

Values go to openpi as they are: a gripper that it knows from 0 to 1 needs a function of your own (`openpi.wrap`).
Further keys: `features` (what an adapter sees: "state", or "prefix" as in `openpi_features.py`), `horizon` (the first
so many steps of its chunk), `denoising_steps`, `noise` (false serves a policy that takes none, such as pi0-FAST).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from robot_rl.errors import ConfigError
from robot_rl.serve.settings import (
    ActionSettings,
    action_from_plain,
    check,
    check_state,
    is_count,
    is_list,
    known,
    read_object,
    step_s,
)

Shape = tuple[int, ...]
FEATURES = ("state", "prefix")


@dataclass(frozen=True)
class OpenPiSettings:
    """The file's content."""

    config: str
    checkpoint: str
    step_s: float
    """Seconds between two actions of a chunk."""
    observation: Mapping[str, Mapping[str, Shape]]
    """openpi's key -> keys of ours that it is made of, in their order, and their shapes."""
    action: ActionSettings
    """With names, units and bounds of the same length."""
    prompt: str | None = None
    horizon: int | None = None
    denoising_steps: int | None = None
    noise: bool = True
    features: str = FEATURES[0]

    @property
    def keys(self) -> dict[str, str]:
        """Our key -> openpi's."""
        return {ours: theirs for theirs, parts in self.observation.items() for ours in parts}

    @property
    def shapes(self) -> dict[str, Shape]:
        """Our key -> its shape, as a `PolicySpec` says it."""
        return {ours: shape for parts in self.observation.values() for ours, shape in parts.items()}


def read_settings(path: Path) -> OpenPiSettings:
    """Raises `ConfigError`."""
    what = "the settings of a policy of openpi (robot_rl/serve/openpi_settings.py shows them)"
    return settings_from_plain(read_object(path, what), str(path))


def settings_from_plain(plain: Any, where: str) -> OpenPiSettings:
    """Raises `ConfigError` that names the key of `where`, what it should be and what it is."""
    names = {each.name for each in fields(OpenPiSettings)}
    values = known(plain, names, where)
    needed = ("config", "checkpoint", "step_s", "observation", "action")
    if missing := [key for key in needed if key not in values]:
        raise ConfigError(f"{where}: {missing[0]} is missing; expected at least {', '.join(needed)}")
    values["step_s"] = step_s(values, where)
    for key in ("config", "checkpoint", "prompt"):
        check(values, key, where, lambda value: isinstance(value, str) and value != "", "a text")
    for key in ("horizon", "denoising_steps"):
        check(values, key, where, is_count, "a number from 1 on")
    check(values, "noise", where, lambda value: isinstance(value, bool), "true or false")
    check(values, "features", where, lambda value: value in FEATURES, " or ".join(FEATURES))
    values["observation"] = _observation(values["observation"], f"{where}: observation")
    values["action"] = _action(values["action"], f"{where}: action")
    return OpenPiSettings(**values)


def _observation(plain: Any, where: str) -> dict[str, dict[str, Shape]]:
    if not (isinstance(plain, dict) and plain and all(isinstance(parts, dict) and parts for parts in plain.values())):
        raise ConfigError(f"{where}: expected openpi's keys, and for each keys of ours with their sizes")
    found: dict[str, dict[str, Shape]] = {}
    taken: set[str] = set()
    for theirs, parts in plain.items():
        found[theirs] = {}
        for ours, size in parts.items():
            if ours in taken:
                raise ConfigError(f"{where}: {ours} is there twice")
            taken.add(ours)
            found[theirs][ours] = _shape(ours, size, f"{where}: {theirs}", alone=len(parts) == 1)
    return found


def _shape(key: str, size: Any, where: str, *, alone: bool) -> Shape:
    if key.startswith("images."):
        if not (alone and is_list(size, is_count) and len(size) == 3 and size[2] == 3):
            raise ConfigError(f"{where}: {key}: expected a picture alone, as [height, width, 3], got {size!r}")
        return tuple(size)
    if not is_count(size):
        raise ConfigError(f"{where}: {key}: expected how many numbers it has, got {size!r}")
    check_state(key, size, where)
    return () if key == "gripper_width" else (size,)


def _action(plain: Any, where: str) -> ActionSettings:
    action = action_from_plain(plain, where, "openpi")
    size = len(action.names or ())
    for key in ("names", "units", "low", "high"):
        if not size or len(getattr(action, key) or ()) != size:
            raise ConfigError(
                f"{where}: {key}: expected one for each number of an action, as names, units, low and high have"
            )
    if not all(a < b for a, b in zip(action.low or (), action.high or (), strict=True)):
        raise ConfigError(f"{where}: expected low below high, got {action.low} and {action.high}")
    return action
