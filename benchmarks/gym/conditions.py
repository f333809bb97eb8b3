"""What decides a cell and is no code of ours: the environment, and what simulates it.

An environment of an installed distribution is told by that one's version; one of the user's own by its files.
"""

from __future__ import annotations

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
from gymnasium.envs.registration import EnvSpec

from benchmarks.digest import DIGITS
from benchmarks.gym.tasks import GymTask

COUNTED = frozenset({".py", ".xml", ".urdf"})
"""Files of an environment of one's own: its code, and what it simulates."""
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
    """Of those `packages` that are neither installed nor Python's own; whole packages, whatever of them is imported."""
    found: list[Path] = []
    for package in sorted(packages):
        spec = find_spec(package)
        if spec is None:
            continue
        if spec.submodule_search_locations is None:
            roots = [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []
        else:
            roots = [Path(place) for place in spec.submodule_search_locations]
        for root in roots:
            if not _installed(root):
                found += [root] if root.is_file() else [path for path in root.rglob("*") if path.suffix in COUNTED]
    return sorted(found)


def _installed(path: Path) -> bool:
    names = ("purelib", "platlib", "stdlib", "platstdlib")
    return any(path.resolve().is_relative_to(Path(sysconfig.get_path(name)).resolve()) for name in names)


def _digest(files: Iterable[Path], spec: EnvSpec | None) -> str:
    """Of files, and of how the environment is registered."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.parent.name}/{path.name}\n".encode() + path.read_bytes())
    if spec is not None:
        registered = repr((spec.entry_point, spec.kwargs, spec.additional_wrappers))
        digest.update(ADDRESS.sub("", registered).encode())
    return digest.hexdigest()[:DIGITS]


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
