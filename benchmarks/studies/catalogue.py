"""The studies by name."""

from __future__ import annotations

from importlib import import_module

from benchmarks.studies.study import Study
from robot_rl.errors import ConfigError, nearest

NAMES = ("usr_modes", "lpds_modes", "zprl_smoothness", "dsrl_offline", "decorator_ablation")


def study(name: str) -> Study:
    """Raises `ConfigError` with the nearest name."""
    if name not in NAMES:
        raise ConfigError(f"no study {name!r}{nearest(name, NAMES)}")
    found: Study = import_module(f"benchmarks.studies.{name}").STUDY
    return found
