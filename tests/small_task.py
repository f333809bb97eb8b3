"""A lid-opening task that is quick to run: short episodes, small networks; real twin, real policy."""

from __future__ import annotations

from pathlib import Path

import yaml

from robot_rl.methods import METHODS, method_of
from robot_rl.task_files import TASKS_DIR


def write_small_task(folder: Path, **changes: object) -> Path:
    """Write `small.yaml` into `folder` and return its path; `changes` replace top-level entries."""
    raw = yaml.safe_load((TASKS_DIR / "lid_opening.yaml").read_text())
    raw["name"] = "small"
    raw["max_steps"] = 40
    raw["policy"]["checkpoint"] = str(TASKS_DIR / "lid_opening.safetensors")
    for name, method in raw["methods"].items():
        method |= {"hidden": 32, "layers": 2, "batch": 32, "warmup_episodes": 2, "utd": 2.0}
        method |= {"pool": 4} if "pool" in METHODS[method_of(name)].reads else {}
    raw["compute"] = {"matmul": "default"}  # a measurement could choose otherwise the next time
    raw["protocol"]["baseline_trials"] = 3
    raw |= changes
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path
