"""What each part may need, tried in a fresh interpreter in which everything else cannot be imported.

import-linter reads the same rules from the source (pyproject.toml); this sees what really happens at import.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys

import pytest

CORE = frozenset({"numpy", "zmq", "msgpack", "pydantic", "yaml"})
SERVE = frozenset({"numpy", "zmq", "msgpack"})
STORE = CORE | {"mcap", "zstandard", "lz4"}

NEEDS: dict[str, frozenset[str]] = {
    "robot_rl.errors": frozenset(),
    "robot_rl.clock": frozenset(),
    "robot_rl.types": frozenset({"numpy"}),
    "robot_rl.protocols": frozenset({"numpy"}),
    "robot_rl.yaml_files": frozenset({"yaml"}),
    "robot_rl.config": frozenset({"numpy", "pydantic"}),
    "robot_rl.task_files": frozenset({"numpy", "pydantic", "yaml"}),
    "robot_rl.safety": CORE - {"zmq", "msgpack"},
    "robot_rl.control": CORE - {"zmq", "msgpack"},
    "robot_rl.wire": SERVE,
    "robot_rl.drivers": CORE - {"zmq", "msgpack"} | {"franky"},
    "robot_rl.serve": SERVE,
    "robot_rl.services": STORE,
    "robot_rl.policy.remote": SERVE,
    "robot_rl.policy.flow": SERVE | {"safetensors"},
    "robot_rl.policy.backbones.loading": CORE | {"safetensors"},
    "robot_rl.adapters.layout": CORE | {"safetensors"},
    "robot_rl.adapters.acting": CORE | {"safetensors"},
    "robot_rl.store": STORE,
    "robot_rl.export": STORE | {"pyarrow", "PIL", "av"},
    "robot_rl.export.lerobot": STORE | {"pyarrow", "PIL"},
}
"""Part (a module, or a package with all that is in it) -> the packages outside the standard library it may import."""

PROBE = """
import importlib, os, sys, sysconfig

ours, allowed, modules = {"robot_rl"}, set(sys.argv[1].split(",")), sys.argv[2].split(",")
site = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
outside = set()
for folder in site:
    for name in os.listdir(folder):
        outside.add(name.split(".")[0])

# What an allowed package imports by itself is its own affair: only imports that begin in our files are judged.
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in outside or top in allowed | ours:
            return None
        frame = sys._getframe(1)
        while frame:
            importer = frame.f_globals.get("__name__", "").split(".")[0]
            if importer in ours:
                raise ImportError(f"{frame.f_globals['__name__']} imports {name}, which it must do without")
            if importer in allowed:
                return None
            frame = frame.f_back

sys.meta_path.insert(0, Blocker())
for module in modules:
    importlib.import_module(module)
"""


def probe(allowed: frozenset[str], modules: list[str]) -> subprocess.CompletedProcess[str]:
    """Import `modules` in a fresh interpreter that has nothing beside the standard library but `allowed`."""
    return subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(allowed), ",".join(modules)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def modules_of(part: str) -> list[str]:
    """The module itself and, for a package, all below it; `__main__` is what runs, not what is imported."""
    spec = importlib.util.find_spec(part)
    assert spec is not None, f"{part} is not there"
    if spec.submodule_search_locations is None:
        return [part]
    below = pkgutil.walk_packages(spec.submodule_search_locations, f"{part}.")
    return [part, *(found.name for found in below if not found.name.endswith("__main__"))]


@pytest.mark.parametrize("part", NEEDS)
def test_a_part_imports_with_no_more_than_it_may_need(part: str) -> None:
    done = probe(NEEDS[part], modules_of(part))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["robot_rl.config", "robot_rl.wire.codec"])
def test_the_probe_sees_what_is_forbidden(module: str) -> None:
    done = probe(frozenset(), [module])
    assert done.returncode != 0
    assert "which it must do without" in done.stderr


def test_torch_is_blocked_from_the_learning_part() -> None:
    done = probe(CORE | {"safetensors"}, ["robot_rl.policy.torch_flow"])
    assert "imports torch, which it must do without" in done.stderr
