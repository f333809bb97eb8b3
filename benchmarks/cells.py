"""Cells of a learning benchmark: one training run and its evaluation each, done once for one state of the code.

A cell is trained in lockstep, then adapter and frozen policy are evaluated on the same starts, which were never trained
on; the newest adapter is the one that is judged. A cell that is done is not done again, and one that was interrupted
goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_rl.adapters.files import read_manifests
from robot_rl.compositions.results import WINDOW, write_json_results
from robot_rl.errors import ConfigError
from robot_rl.store.labels import LabelLog
from robot_rl.types import LabelValue

PACKAGES = ("robot_rl", "sim_twin")


@dataclass(frozen=True)
class Cell:
    """What is trained, and how it is judged."""

    task: str
    method: str
    """An entry of the task's methods."""
    seed: int
    episodes: int
    trials: int

    def folder(self, out: Path) -> Path:
        """Named by what decides its result, the code included."""
        method = self.method.replace(":", "-")
        return out / f"{self.task}-{method}-{self.seed}-{self.episodes}x{self.trials}-{code_digest()}"


Results = Mapping[Cell, Mapping[str, Any]]


def code_digest() -> str:
    """Twelve digits over everything that both packages ship: code, task files, frozen policies."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".yaml", ".safetensors"):
                digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def run_cell(cell: Cell, out: Path) -> dict[str, Any]:
    """Train (or go on training) and evaluate, in processes of their own; the cell's JSON."""
    folder = cell.folder(out)
    done = folder / "cell.json"
    if done.exists():
        loaded: dict[str, Any] = json.loads(done.read_text())
        return loaded
    begun = (folder / "run.json").exists()
    if folder.exists() and not begun:
        shutil.rmtree(folder)  # interrupted before it was a run
    where = ["--resume", str(folder)] if begun else ["--out", str(folder)]
    arguments = ["--method", cell.method, "--seed", str(cell.seed), "--episodes", str(cell.episodes)]
    started = time.monotonic()
    _robot_rl(["run", cell.task, *arguments, *where, "--no-console", "--trials", "0"], folder)
    seconds = time.monotonic() - started
    evaluation = _robot_rl(["eval", str(folder), "--trials", str(cell.trials), "--seed", str(cell.seed)], folder)
    learner = json.loads((folder / "learner.json").read_text())
    result = {
        **json.loads(evaluation.strip().splitlines()[-1]),
        "seed": cell.seed,
        "training_seconds": None if begun else round(seconds, 1),
        "updates": learner["updates"],
        "utd_reached": learner["utd_reached"],
        "log": _log(folder),
        "curve": _curve(folder),
        "code": code_digest(),
    }
    write_json_results(done, result)
    return result


def run_ceilings(task: str, trials: int, out: Path) -> dict[str, dict[str, Any]]:
    """Method -> the best that a controller which knows the answer reaches by its interface (`robot-rl authority`).

    `success`, `interval`, `trials`, and `oracle`: the interface and what the controller sees. Done once, as a cell is.
    """
    folder = out / f"{task}-ceilings-{trials}-{code_digest()}"
    report = folder / "authority.json"
    if not report.exists():
        _robot_rl(["authority", task, "--trials", str(trials), "--out", str(folder)], folder)
    found = {}
    for interface in json.loads(report.read_text())["interfaces"]:
        ceiling = interface["ceiling"]
        oracle = f"{interface['interface']}{', blind' if ceiling['oracle'] == 'blind' else ''}"
        found |= {method: {**ceiling, "oracle": oracle} for method in interface["methods"]}
    return found


def _log(folder: Path) -> dict[str, float]:
    """Means over the newest `WINDOW` versions of what the learner said of itself."""
    said = [version["losses"] for version in read_manifests(folder / "adapters")[-WINDOW:]]
    return {
        name: statistics.fmean(one[name] for one in said if name in one) for name in {n for one in said for n in one}
    }


def _robot_rl(arguments: Sequence[str], folder: Path) -> str:
    """Run `robot-rl`; its output. Raises `ConfigError` with its last words."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb", "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, "-m", "robot_rl.cli", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise ConfigError(
            f"{folder.name}: robot-rl {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def _curve(folder: Path) -> list[list[int]]:
    """(episode, 1 for a success) of the run's labels."""
    log = LabelLog(folder / "labels.sqlite")
    try:
        labels = log.current()
    finally:
        log.close()
    return [[episode, int(event.label.value is LabelValue.SUCCESS)] for episode, event in sorted(labels.items())]
