"""A frozen policy by name: a checkpoint of this project, lerobot or openpi, or whatever a factory of yours makes."""

from __future__ import annotations

import importlib
from pathlib import Path

from robot_rl.errors import ConfigError
from robot_rl.protocols import FrozenPolicy


def load_policy(name: str) -> FrozenPolicy:
    """The policy of a checkpoint's path, of `lerobot:FOLDER`, `openpi:SETTINGS.json`, or what `module:factory` gives.

    Raises `ConfigError`, `IntegrityError`.
    """
    module, _, factory = name.partition(":")
    if module == "lerobot":
        from robot_rl.serve.lerobot import load  # needs lerobot and torch, once it is called

        return load(Path(factory))
    if module == "openpi":
        from robot_rl.serve.openpi import load as load_openpi  # likewise

        return load_openpi(Path(factory))
    if factory:
        try:
            policy = getattr(importlib.import_module(module), factory)()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"expected module:factory, got {name!r}: {error}") from error
        if not isinstance(policy, FrozenPolicy):
            raise ConfigError(
                f"{name} returned {type(policy).__name__}, which is no FrozenPolicy (spec, encode, decode)"
            )
        return policy
    if not Path(name).is_file():
        raise ConfigError(
            f"no checkpoint {name!r}: expected the path of a .safetensors file, lerobot:FOLDER, "
            "openpi:SETTINGS.json or module:factory"
        )
    from robot_rl.policy.backbones.loading import load_checkpoint  # needs safetensors, which others' policies do not

    return load_checkpoint(Path(name))
