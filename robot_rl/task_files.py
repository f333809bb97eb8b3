"""Task files: one YAML per task, checked on reading; an unknown key is an error that names the nearest known one.

`load_task("lid_opening")` reads `robot_rl/tasks/lid_opening.yaml`; a path to a file of the user's own works too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robot_rl.config import MethodConfig, TaskConfig, explain
from robot_rl.errors import ConfigError, nearest
from robot_rl.methods import LARGEST, METHODS, method_of, objections, reservations, with_defaults
from robot_rl.yaml_files import parse_mapping, read_text

TASKS_DIR = Path(__file__).parent / "tasks"


def task_names() -> list[str]:
    """The tasks that ship with the package."""
    return sorted(path.stem for path in TASKS_DIR.glob("*.yaml"))


def load_task(name: str | Path, *, begun: bool = False) -> TaskConfig:
    """Read a task by name or by path; `begun` as of `parse_task`. Raises `ConfigError`."""
    return parse_task(read_text(task_path(name)), str(name), begun=begun)


def task_path(name: str | Path) -> Path:
    """Where the file of task `name` is. Raises `ConfigError` with the nearest valid name."""
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else TASKS_DIR / f"{name}.yaml"
    if not os.path.isfile(path):  # no error for a name that no file can have
        raise ConfigError(f"no task {str(name)!r}{nearest(str(name), task_names())}, or the path of a .yaml file")
    return path


def parse_task(text: str, origin: str, *, begun: bool = False) -> TaskConfig:
    """Check the text of a task file. Raises `ConfigError` naming the place, what was expected, and the nearest key.

    `begun`: it is the copy of a run, which goes on with settings that no run should be begun with.
    """
    raw = parse_mapping(text, origin, begun=begun)
    given = raw.get("methods")
    raw, faults = _settle_methods(raw)
    try:
        task = TaskConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join([*faults, *explain(TaskConfig, error)])) from error
    if not faults and not begun:
        faults = [
            line
            for name, settings in (given or {}).items()
            for line in _reservations(name, settings or {}, task.methods[name])
        ]
    if faults:
        raise ConfigError(f"{origin}: " + "; ".join(faults))
    return task


def method_config(method: str, **settings: Any) -> MethodConfig:
    """The settings of `method`, as a task file that sets `settings` for it would have them. Raises `ConfigError`."""
    if faults := objections(method, settings, MethodConfig.model_fields):
        raise ConfigError("; ".join(faults))
    try:
        config = MethodConfig.model_validate(with_defaults(method, settings))
    except ValidationError as error:
        raise ConfigError("; ".join(explain(MethodConfig, error))) from error
    if faults := _reservations(method, settings, config):
        raise ConfigError("; ".join(faults))
    return config


def _reservations(name: str, settings: Mapping[str, Any], config: MethodConfig) -> list[str]:
    """Those of `robot_rl.methods`, what is beyond its `LARGEST`, and that data of both kinds are drawn."""
    lines = reservations(name, settings)
    lines += [
        f"methods.{name}.{setting}: expected at most {most}, got {getattr(config, setting)}"
        for setting, most in LARGEST.items()
        if getattr(config, setting) > most
    ]
    if config.prior_share and not 0 < (count := round(config.batch * config.prior_share)) < config.batch:
        lines.append(
            f"methods.{name}.prior_share: {config.prior_share:g} of a batch of {config.batch} is {count} chunks, so "
            "that one of the two kinds of data would never be drawn; change it or the batch"
        )
    return lines


def _settle_methods(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A raw task with each method's own defaults filled in, and what is wrong with the settings that it names."""
    given = raw.get("methods")
    if not isinstance(given, dict):
        return raw, []
    faults, settled = [], {}
    for name, settings in given.items():
        settled[name] = settings
        if isinstance(settings, dict):
            faults += objections(str(name), settings, MethodConfig.model_fields)
            if method_of(str(name)) in METHODS:
                settled[name] = with_defaults(name, settings)
    return {**raw, "methods": settled}, faults
