"""Cells of a learning benchmark: one training run and its evaluation each, done once for one state of the code.

A cell is trained in lockstep, then adapter and frozen policy are evaluated on the same starts, which were never trained
on; the newest adapter is the one that is judged. A cell that is done is not done again, and one that was interrupted
goes on where it was. A whole table takes hours, so cells are kept in the repository too (`RECORDS`), each named by what
decides it (`benchmarks.digest`): what is there need not be run again, and is remade by taking the file away.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.digest import ROOT, ceilings_digest, cell_digest
from benchmarks.provenance import compared, earlier, require_figures
from robot_rl.adapters.files import read_manifests
from robot_rl.compositions.results import WINDOW, write_json_results
from robot_rl.errors import ConfigError
from robot_rl.store.files import atomic_write
from robot_rl.store.labels import LabelLog
from robot_rl.task_files import load_task
from robot_rl.types import LabelValue

RECORDS = ROOT / "benchmarks" / "records"
"""Done cells and ceilings, one JSON file each."""
FIGURES = frozenset(
    {"success", "interval", "action_entropy", "base_success", "base_interval", "base_action_entropy", "curve", "log"}
)
"""What a cell has at least."""
LATCH = re.compile(r"^error: (?P<why>(STOPPED|FAULT): .*?)\. Only a person clears this", re.MULTILINE | re.DOTALL)
"""The last words of a run without a page (`compositions.operator_page.LatchNotice`)."""


@dataclass(frozen=True)
class Cell:
    """What is trained, and how it is judged."""

    task: str
    """By name, or the path of its file."""
    method: str
    """An entry of the task's methods."""
    seed: int
    episodes: int
    trials: int

    @property
    def kind(self) -> str:
        """Its name without what decides it: a new record of the same kind takes the old one's place."""
        return f"{Path(self.task).stem}-{self.method.replace(':', '-')}-{self.seed}-{self.episodes}x{self.trials}"

    @property
    def name(self) -> str:
        """Of its folder and of its record."""
        return f"{self.kind}-{cell_digest(self.task, self.method)}"

    @property
    def said(self) -> dict[str, Any]:
        """What its result says that it is; of its episodes it has fewer where its guard stopped it."""
        return {"method": self.method, "seed": self.seed, "trials": self.trials}


Results = Mapping[Cell, Mapping[str, Any]]


def run_cell(cell: Cell, out: Path, *, record: bool = False) -> dict[str, Any]:
    """Train (or go on training) and evaluate, in processes of their own; the cell's JSON, put on `record` if asked."""
    folder = out / cell.name
    fits = fits_if(cell.said, FIGURES)
    return once(folder / "cell.json", cell.kind, cell.name, lambda: _train_and_judge(cell, folder), record, fits=fits)


class Latched(ConfigError):
    """A run ended because its guard waits for a person, and a benchmark has none."""


def _train_and_judge(cell: Cell, folder: Path) -> dict[str, Any]:
    """A run that its guard has stopped is judged by what it had learnt until then, and says so."""
    seconds, latched = None, ""
    try:
        seconds = train(cell, folder)
    except Latched as error:
        latched = str(error)
    evaluation = robot_rl(["eval", str(folder), "--trials", str(cell.trials), "--seed", str(cell.seed)], folder)
    return {
        **json.loads(evaluation.strip().splitlines()[-1]),
        "seed": cell.seed,
        "training_seconds": seconds,
        "log": _log(folder),
        "latched": latched,
        **learning_of(folder),
    }


def train(cell: Cell, folder: Path) -> float | None:
    """Train the cell's run in `folder`, or go on training it; seconds, None for one that was begun before."""
    arguments = ["--method", cell.method, "--seed", str(cell.seed), "--episodes", str(cell.episodes)]
    return begin_or_resume(folder, ["run", cell.task, *arguments], ["run", "--resume", str(folder), *arguments[-2:]])


def begin_or_resume(folder: Path, begin: Sequence[str], resume: Sequence[str]) -> float | None:
    """A run in `folder` without page and evaluation, by one of two commands; seconds, None for a resumed one."""
    begun = (folder / "run.json").exists()
    if folder.exists() and not begun:
        shutil.rmtree(folder)  # interrupted before it was a run
    command = resume if begun else [*begin, "--out", str(folder)]
    started = time.monotonic()
    robot_rl([*command, "--no-console", "--trials", "0"], folder)
    return None if begun else round(time.monotonic() - started, 1)


def learning_of(folder: Path) -> dict[str, Any]:
    """What a finished run's learner did, and the curve of its episodes."""
    learner = json.loads((folder / "learner.json").read_text())
    return {
        **({"diverged": learner["diverged"]} if learner.get("diverged") else {}),
        "updates": learner["updates"],
        "utd_reached": learner["utd_reached"],
        "matmul": json.loads((folder / "compute.json").read_text())["matmul"],
        "curve": _curve(folder),
    }


def ceiling_trials(task: str) -> int:
    """As many as all seeds of a method have together: a ceiling of fewer would be the less certain of the two."""
    protocol = load_task(task).protocol
    return protocol.trials * len(protocol.seeds)


def run_ceilings(task: str, trials: int, out: Path, *, record: bool = False) -> dict[str, dict[str, Any]]:
    """Method -> what a greedy controller that knows the answer reaches by its interface (`robot-rl authority`).

    `success`, `interval`, `trials`, and `oracle`: the interface, and "blind" where the controller chooses before the
    base draws its noise, as the method's actor does; `seeing` is then the success of one that sees the draw. Done once,
    as a cell is.
    """
    kind = f"{task}-ceilings-{trials}"
    name = f"{kind}-{ceilings_digest(task)}"
    done = out / name / "authority.json"

    def report() -> dict[str, Any]:
        robot_rl(["authority", task, "--trials", str(trials), "--out", str(done.parent)], done.parent)
        reported: dict[str, Any] = json.loads(done.read_text())
        return reported

    return ceilings_in(once(done, kind, name, report, record))


def ceilings_in(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of `run_ceilings`, of the JSON of `robot-rl authority`.

    Of its oracles, not of its "ceiling": in reports on record from before that was the better one of the two.
    """
    found = {}
    for interface in report["interfaces"]:
        oracles, name = interface["oracles"], interface["interface"]
        ceiling = {**oracles["sees"], "oracle": name}
        if "blind" in oracles:
            ceiling = {**oracles["blind"], "oracle": f"{name}, blind", "seeing": oracles["sees"]["success"]}
        found |= dict.fromkeys(interface["methods"], ceiling)
    return found


def once(
    done: Path,
    kind: str,
    name: str,
    make: Callable[[], dict[str, Any]],
    record: bool,
    records: Path | None = None,
    fits: Callable[[Mapping[str, Any]], bool] = lambda result: True,
) -> dict[str, Any]:
    """What is at `done`, or on record under `name`; else what `make` makes, left at `done`.

    With `record` it goes on record, in the place of those of its kind that other code or settings gave; if their
    figures are the same it says so (`benchmarks.provenance`). `records`: where that is, None: `RECORDS`. What does not
    `fits` is made again. Raises `ConfigError` for a damaged file.
    """
    records = records or RECORDS
    recorded = records / f"{name}.json"
    there = [result for place in (done, recorded) if (result := _read(place, fits)) is not None]
    if there:
        result = there[0]
    else:
        write_json_results(done, make())
        result = json.loads(done.read_bytes())  # as it will be read again: a tuple is a list there
    if record and _read(recorded, fits) is None:
        records.mkdir(exist_ok=True)
        superseded = [path for path in earlier(records, kind) if path != recorded]
        text = json.dumps(result | compared(result, superseded), sort_keys=True, separators=(",", ":"))
        atomic_write(recorded, (text + "\n").encode())
        for path in superseded:
            path.unlink(missing_ok=True)
    return result


def fits_if(said: Mapping[str, Any], needs: Iterable[str]) -> Callable[[Mapping[str, Any]], bool]:
    """For `once`: refuses, by a `ValueError`, a result that does not say what it is as `said`, or lacks figures."""

    def fits(result: Mapping[str, Any]) -> bool:
        require_figures(result, {*said, *needs})
        if {name: result[name] for name in said} != dict(said):
            raise ValueError(f"expected that of {said}")
        return True

    return fits


def _read(place: Path, fits: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any] | None:
    """A result that fits; None where there is none. Raises `ConfigError` for a damaged file, which it names."""
    if not place.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(place.read_bytes())
        return result if fits(result) else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place} is no result of a cell ({error}): remove it, and it is made again") from error


def _log(folder: Path) -> dict[str, float]:
    """Means over the newest `WINDOW` versions of what the learner said of itself."""
    said = [version["losses"] for version in read_manifests(folder / "adapters")[-WINDOW:]]
    return {
        name: statistics.fmean(one[name] for one in said if name in one) for name in {n for one in said for n in one}
    }


def robot_rl(arguments: Sequence[str], folder: Path) -> str:
    """Run `robot-rl`; its output. Raises `ConfigError` with its last words, `Latched` if only a person can go on."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb", "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, "-m", "robot_rl.cli", *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        if latch := LATCH.search(done.stdout):
            raise Latched(latch["why"])
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
