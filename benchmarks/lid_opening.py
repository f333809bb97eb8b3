"""`python -m benchmarks.lid_opening`: does the adapter learn to open the lid, and does it need what USR adds?

For each task, method and seed of the task's protocol: train in lockstep, then evaluate adapter and frozen policy on
the same starts, which were never trained on. Seeds, episodes and trials are the task file's; nothing is chosen here,
and the newest adapter is the one that is judged. A cell (task, method, seed, code) that is done is not done again, and
one that was interrupted goes on where it was; `--short` is a small one for CI, which shows that the benchmark runs, not
how well the methods learn.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy import stats

from robot_rl.compositions.results import Rate, moving_average, write_json_results
from robot_rl.config import load_task
from robot_rl.errors import ConfigError

TASKS = ("lid_opening", "lid_opening_strict")
METHODS = ("usr", "dsrl-na")
SHORT_EPISODES, SHORT_TRIALS = 12, 10
PACKAGES = ("robot_rl", "sim_twin")


@dataclass(frozen=True)
class Cell:
    """One training run and its evaluation."""

    task: str
    method: str
    seed: int
    episodes: int
    trials: int

    def folder(self, out: Path) -> Path:
        """Named by what decides its result, the code included."""
        return out / f"{self.task}-{self.method}-{self.seed}-{self.episodes}x{self.trials}-{code_digest()}"


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
        "curve": _curve(folder),
        "code": code_digest(),
    }
    write_json_results(done, result)
    return result


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
    from robot_rl.store.labels import LabelLog
    from robot_rl.types import LabelValue

    log = LabelLog(folder / "labels.sqlite")
    try:
        labels = log.current()
    finally:
        log.close()
    return [[episode, int(event.label.value is LabelValue.SUCCESS)] for episode, event in sorted(labels.items())]


def summarise(results: Mapping[Cell, Mapping[str, Any]]) -> dict[str, Any]:
    """Per task and method: mean and range over seeds, pooled Wilson interval; paired differences between methods."""
    summary: dict[str, Any] = {}
    for task in dict.fromkeys(cell.task for cell in results):
        rates: dict[str, list[float]] = {}
        for method in METHODS:
            cells = [cell for cell in results if (cell.task, cell.method) == (task, method)]
            if not cells:
                continue
            values = [float(results[cell]["success"]) for cell in cells]
            trials = sum(cell.trials for cell in cells)
            pooled = Rate(round(sum(v * cell.trials for v, cell in zip(values, cells, strict=True))), trials)
            base = Rate(round(sum(float(results[c]["base_success"]) * c.trials for c in cells)), trials)
            key = f"{task}_{method.replace('-', '_')}"
            rates[method] = values
            summary |= {
                f"{key}_mean": float(np.mean(values)),
                f"{key}_min": min(values),
                f"{key}_seeds": values,
                f"{key}_interval": list(pooled.interval),
                f"{task}_base": base.rate,
                f"{task}_base_interval": list(base.interval),
                f"{task}_episodes": cells[0].episodes,
                f"{task}_trials_per_seed": cells[0].trials,
            }
        if len(rates) == 2 and len(rates["usr"]) > 1:
            difference = np.array(rates["usr"]) - np.array(rates["dsrl-na"])
            error = stats.sem(difference)
            low = float(difference.mean() - stats.t.ppf(0.95, len(difference) - 1) * error)
            summary |= {
                f"{task}_usr_minus_dsrl_na": float(difference.mean()),
                f"{task}_usr_minus_dsrl_na_lower_95": low,
            }
    return summary


def draw(results: Mapping[Cell, Mapping[str, Any]], path: Path) -> None:
    """Training curves (a thin moving average for each seed, their mean thick) and evaluated ends, a panel a task."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = list(dict.fromkeys(cell.task for cell in results))
    figure, panels = pyplot.subplots(
        1, len(tasks), figsize=(6.4 * len(tasks), 4), dpi=130, layout="constrained", squeeze=False
    )
    colours = {"usr": "#2f7f8c", "dsrl-na": "#d9a02c"}
    for panel, task in zip(panels[0], tasks, strict=True):
        for method in METHODS:
            cells = [cell for cell in results if (cell.task, cell.method) == (task, method)]
            if not cells:
                continue
            curves = [moving_average([value for _, value in results[cell]["curve"]]) for cell in cells]
            shortest = min(len(curve) for curve in curves)
            for curve in curves:
                panel.plot(np.arange(1, len(curve) + 1), curve, color=colours[method], lw=0.7, alpha=0.4)
            mean = np.mean([curve[:shortest] for curve in curves], axis=0)
            panel.plot(
                np.arange(1, shortest + 1), mean, color=colours[method], lw=2.4, label=f"{method}, while training"
            )
            ends = [results[cell]["success"] for cell in cells]
            panel.scatter(
                [shortest + 3] * len(ends), ends, color=colours[method], marker="D", s=22, label=f"{method}, evaluated"
            )
        base = np.mean([results[cell]["base_success"] for cell in results if cell.task == task])
        panel.axhline(base, color="#8a9096", ls="--", label=f"frozen policy {base:.2f}")
        panel.set(title=task, xlabel="episode", ylabel="success", ylim=(-0.03, 1.03))
        panel.legend(fontsize=8, loc="upper left")
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    pyplot.close(figure)


def cells_of(tasks: Sequence[str], methods: Sequence[str], short: bool) -> list[Cell]:
    """What the tasks' protocols ask for; one small seed each when `short`."""
    cells = []
    for task in tasks:
        protocol = load_task(task).protocol
        seeds = protocol.tuning_seeds[:1] if short else protocol.seeds
        episodes = SHORT_EPISODES if short else protocol.episodes
        trials = SHORT_TRIALS if short else protocol.trials
        cells += [Cell(task, method, seed, episodes, trials) for seed in seeds for method in methods]
    return cells


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lid_opening", description=__doc__)
    parser.add_argument("--task", choices=TASKS, action="append", help="(default: both)")
    parser.add_argument("--method", choices=METHODS, action="append", help="(default: both)")
    parser.add_argument("--short", action="store_true", help="a few episodes of one tuning seed: does it run?")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time, a core each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    console = Console()
    cells = cells_of(arguments.task or TASKS, arguments.method or METHODS, arguments.short)
    arguments.out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar, ThreadPoolExecutor(arguments.jobs) as pool:
        row = bar.add_task("cells (task, method, seed)", total=len(cells))

        def work(cell: Cell) -> dict[str, Any]:
            result = run_cell(cell, arguments.out)
            bar.advance(row)
            return result

        results = dict(zip(cells, pool.map(work, cells), strict=True))
    summary = summarise(results)
    table = Table("task", "method", "frozen policy", "mean", "worst seed", "95 % interval, pooled", "seeds")
    for task in dict.fromkeys(cell.task for cell in cells):
        for method in dict.fromkeys(cell.method for cell in cells):
            key = f"{task}_{method.replace('-', '_')}"
            seeds = " ".join(f"{value:.2f}" for value in summary[f"{key}_seeds"])
            interval = "{:.2f} to {:.2f}".format(*summary[f"{key}_interval"])
            base = f"{summary[f'{task}_base']:.2f}"
            table.add_row(
                task, method, base, f"{summary[f'{key}_mean']:.2f}", f"{summary[f'{key}_min']:.2f}", interval, seeds
            )
    console.print(table)
    draw(results, arguments.out / "curves.png")
    write_json_results(arguments.out / "summary.json", summary)
    console.file.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
