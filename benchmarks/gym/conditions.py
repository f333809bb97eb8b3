"""What decides a cell and is no code of ours: the environment, and what simulates it.

An environment of an installed distribution is told by that one's version; one of the user's own by its files.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from benchmarks.digest import DIGITS
from benchmarks.gym.tasks import GymTask

COUNTED_ANYWAY = frozenset({"benchmarks", "robot_rl", "sim_twin"})
"""Their code that decides counts for every cell (`benchmarks.digest`)."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@cache
def conditions(task: GymTask) -> dict[str, Any]:
    """`max_steps` of an episode; `simulators`: name -> version; `environment`: a digest of one that is not installed.

    Raises `ConfigError` as `GymTask.make` does.
    """
    with closing(task.make()) as env:
        simulated_by = type(env.unwrapped).__module__.partition(".")[0]
        packages = {"gymnasium", *metadata.packages_distributions().get(simulated_by, ())}
        if _holds_mujoco(env.unwrapped):
            packages.add("mujoco")
        said = {
            "max_steps": task.steps_of(env),
            "simulators": {name: metadata.version(name) for name in sorted(packages)},
        }
        registered = None if task.of_metaworld else env.unwrapped.spec  # `env.spec` has our wrappers too
        own = own_files({simulated_by, *_named_by(task.env, registered)})
        return {**said, "environment": _digest(own, registered)} if own else said


def _named_by(env: str, spec: EnvSpec | None) -> set[str]:
    """Packages of the module that an id is prefixed with, and of what its registration names."""
    if spec is None:
        return set()
    entries: list[Any] = [spec.entry_point, *(one.entry_point for one in spec.additional_wrappers)]
    modules = [entry.partition(":")[0] if isinstance(entry, str) else entry.__module__ for entry in entries if entry]
    return {module.partition(".")[0] for module in (env.rpartition(":")[0], *modules) if module}


def own_files(packages: Iterable[str]) -> list[Path]:
    """Of those `packages`, and of what they import, that are neither installed nor Python's own.

    All files of a package, whatever of it is imported or read; of a module that is in none, its own file.
    """
    found: set[Path] = set()
    known, wanted = set(COUNTED_ANYWAY), set(packages) - COUNTED_ANYWAY
    while wanted:
        package = wanted.pop()
        known.add(package)
        files = [path for root in _places(package) if not _installed(root) for path in _files(root)]
        found.update(files)
        wanted |= {name for path in files if path.suffix == ".py" for name in _imported(path)} - known
    return sorted(found)


def _places(package: str) -> list[Path]:
    """The folders of a package, or the file of a module; none of what is built in, or not there."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # `__main__` has none
        spec = None
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return [
        path
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]


def _imported(path: Path) -> set[str]:
    """Packages that a module names in its imports; none of one that is no Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}


def _installed(path: Path) -> bool:
    names = ("purelib", "platlib", "stdlib", "platstdlib")
    return any(path.resolve().is_relative_to(Path(sysconfig.get_path(name)).resolve()) for name in names)


def _digest(files: Iterable[Path], spec: EnvSpec | None) -> str:
    """Of files, and of how the environment is registered."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.parent.name}/{path.name}\n".encode() + path.read_bytes())
    if spec is not None:
        digest.update(repr(_plain((spec.entry_point, spec.kwargs, spec.additional_wrappers))).encode())
    return digest.hexdigest()[:DIGITS]


def _plain(value: Any) -> Any:
    """The same in every process, and whole: arrays are shortened by `repr`, and sets have no order."""
    if isinstance(value, dict):
        return [(_plain(name), _plain(part)) for name, part in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(_plain(part)) for part in value)
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest())
    return ADDRESS.sub("", repr(value))


def _holds_mujoco(env: gymnasium.Env[Any, Any]) -> bool:
    """A MuJoCo model, or an environment that does."""
    within, looked_at = [env], {id(env)}
    while within:
        for part in vars(within.pop()).values():
            if type(part).__module__.startswith("mujoco."):
                return True
            if isinstance(part, gymnasium.Env) and id(part) not in looked_at:
                looked_at.add(id(part))
                within.append(part)
    return False
