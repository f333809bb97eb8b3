"""`python -m benchmarks.diversity`: what is left of the frozen policy's variety where LP-DS and DSRL succeed alike.

At the end of a run the two differ in success too, and whoever has learnt more has less variety left. So DSRL is judged
on its way as well, at `MARKS` of its run: where its seeds' mean has first come to that of LP-DS at its end, the k-NN
entropies of the chunks (LP-DS paper, appendix C) are compared, paired by seed. Runs and LP-DS's ends are the cells of
`benchmarks.lid_opening`, and taken from there if they were run in the same folder, or are on record. A run that is
judged is not judged again; `--record` keeps it in `benchmarks/records/diversity/`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from scipy import stats

from benchmarks import cells, ending
from benchmarks.cells import Cell, robot_rl, run_cell, train
from benchmarks.digest import DIGITS
from benchmarks.lid_opening import TASKS
from benchmarks.summary import method_key
from robot_rl.adapters.files import read_manifests
from robot_rl.compositions.results import write_json_results
from robot_rl.config import load_task
from robot_rl.errors import ConfigError

DIVERSE, STEERED = "lp-ds", ("dsrl-sac", "dsrl-na")
MARKS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of a run's episodes, after which its newest adapter is judged."""
TRIALS = 50
"""Of an adapter on its way; ends are judged by the protocol's."""

Point = Mapping[str, float]
"""`episodes`, `success`, `action_entropy` of an adapter (nats)."""


def path_of(cell: Cell, out: Path, *, record: bool = False) -> list[Point]:
    """A run's adapters at `MARKS`; trained, or taken from where it was, and put on `record` if asked."""
    done = out / cell.name / "diversity.json"
    records = cells.RECORDS / "diversity"
    made = cells.once(done, cell.kind, cell.name, lambda: {"path": _judge(cell, out)}, record, records)
    found: list[Point] = made["path"]
    return found


def _judge(cell: Cell, out: Path) -> list[Point]:
    folder = out / cell.name
    train(cell, folder)
    versions = {one["through_episode"]: one["version"] for one in read_manifests(folder / "adapters")}
    points = []
    for mark in MARKS:
        episodes = round(mark * cell.episodes)
        if episodes not in versions:
            raise ConfigError(f"{folder} has no adapter after episode {episodes}: remove it, and it is made again")
        which = ["--version", str(versions[episodes]), "--trials", str(TRIALS), "--seed", str(cell.seed)]
        said = json.loads(robot_rl(["eval", str(folder), *which], folder).strip().splitlines()[-1])
        points.append({"episodes": episodes, **{name: said[name] for name in ("success", "action_entropy")}})
    return points


@dataclass(frozen=True)
class Alike:
    """LP-DS at its end beside a method on its way, where that has first come to the same success."""

    task: str
    method: str
    success: float
    """Of LP-DS, mean over seeds."""
    entropy: float
    """Of LP-DS, nats, mean over seeds."""
    path: list[Point]
    """Of the other, means over seeds."""
    at: int | None
    """Which point of it; None: it never comes to LP-DS's success."""
    more: tuple[float, float | None] | None
    """Nats that LP-DS has more there: mean over seeds, and half of a 95 % interval, which one seed has not."""

    def __str__(self) -> str:
        ends = f"`{DIVERSE}` on `{self.task}`, at success {self.success:.2f}, has {self.entropy:.0f} nats"
        if self.at is None or self.more is None:
            last = self.path[-1]
            return (
                f"{ends}; `{self.method}` does not come to that success ({last['success']:.2f} at its end, "
                f"{last['action_entropy']:.0f} nats)"
            )
        there, (mean, half) = self.path[self.at], self.more
        apart = f"{mean:+.0f}, of one seed"
        if half is not None:
            word = "more" if mean - half > 0 else "less" if mean + half < 0 else "no different, as far as can be told"
            apart = f"{mean:+.0f} +- {half:.0f}, {word}"
        return (
            f"{ends}; `{self.method}` first comes to it after {there['episodes']:.0f} episodes (success "
            f"{there['success']:.2f}), with {there['action_entropy']:.0f} nats: {apart}"
        )

    @property
    def figures(self) -> dict[str, Any]:
        """Snake_case name -> figure."""
        key = f"{self.task}_{method_key(self.method)}"
        there = None if self.at is None else self.path[self.at]
        return {
            f"{self.task}_{method_key(DIVERSE)}_success": self.success,
            f"{self.task}_{method_key(DIVERSE)}_action_entropy": self.entropy,
            f"{key}_episodes_at_equal_success": there and there["episodes"],
            f"{key}_success_at_equal_success": there and there["success"],
            f"{key}_entropy_at_equal_success": there and there["action_entropy"],
            f"{key}_more_entropy_of_lp_ds": self.more and self.more[0],
            f"{key}_more_entropy_half_width_95": self.more and self.more[1],
        }


def alike(task: str, method: str, ends: Mapping[int, Point], paths: Mapping[int, Sequence[Point]]) -> Alike:
    """`ends`: LP-DS by seed; `paths`: of `method` by seed. Over the seeds that both have; raises `ConfigError` if none.

    Both are to be of one protocol, and every path of the same episodes.
    """
    seeds = sorted(set(ends) & set(paths))
    if not seeds:
        raise ConfigError(f"{task}: {DIVERSE} and {method} have no seed in common")
    success = float(np.mean([ends[seed]["success"] for seed in seeds]))
    entropy = float(np.mean([ends[seed]["action_entropy"] for seed in seeds]))
    mean = [
        {name: float(np.mean([paths[seed][i][name] for seed in seeds])) for name in paths[seeds[0]][i]}
        for i in range(len(paths[seeds[0]]))
    ]
    at = next((i for i, point in enumerate(mean) if point["success"] >= success), None)
    more = None
    if at is not None:
        apart = np.array([ends[seed]["action_entropy"] - paths[seed][at]["action_entropy"] for seed in seeds])
        half = float(stats.t.ppf(0.975, len(apart) - 1) * stats.sem(apart)) if len(apart) > 1 else None
        more = float(apart.mean()), half
    return Alike(task, method, success, entropy, mean, at, more)


def recorded() -> dict[str, dict[str, dict[int, tuple[bool, list[Point]]]]]:
    """Task -> method -> seed -> whether the code that is here made it, and the path, of all that is on record."""
    found: dict[str, dict[str, dict[int, tuple[bool, list[Point]]]]] = {}
    for task in TASKS:
        protocol = load_task(task).protocol
        for method in STEERED:
            for seed in protocol.seeds:
                cell = Cell(task, method, seed, protocol.episodes, protocol.trials)
                if these := sorted((cells.RECORDS / "diversity").glob(f"{cell.kind}-{'?' * DIGITS}.json")):
                    path = json.loads(these[-1].read_text(encoding="utf-8"))["path"]
                    found.setdefault(task, {}).setdefault(method, {})[seed] = these[-1].stem == cell.name, path
    return found


def draw(those: Sequence[Alike], path: Path) -> None:
    """Success against entropy: each method's way, and where LP-DS ends; a panel a task."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = list(dict.fromkeys(one.task for one in those))
    figure, panels = pyplot.subplots(
        1, len(tasks), figsize=(5.4 * len(tasks), 4), dpi=130, layout="constrained", squeeze=False
    )
    for panel, task in zip(panels[0], tasks, strict=True):
        here = [one for one in those if one.task == task]
        for one in here:
            colour = f"C{STEERED.index(one.method)}"
            xs, ys = [p["success"] for p in one.path], [p["action_entropy"] for p in one.path]
            panel.plot(xs, ys, color=colour, marker="o", ms=5, label=f"{one.method}, after so many episodes")
            for point in one.path:
                place = point["success"], point["action_entropy"]
                panel.annotate(
                    f"{point['episodes']:.0f}", place, (4, 5), textcoords="offset points", fontsize=8, color=colour
                )
        panel.scatter([here[0].success], [here[0].entropy], color="C3", marker="D", s=46, zorder=3, label="lp-ds, end")
        panel.axvline(here[0].success, color="C3", lw=0.8, ls=":")
        panel.set(title=f"{task}, means over seeds", xlabel="success", ylabel="k-NN entropy of chunks, nats")
        panel.legend(fontsize=8)
    figure.savefig(path)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Train and judge what is missing, print the table, draw; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diversity", description=__doc__)
    parser.add_argument("--task", choices=TASKS, action="append", help="(default: both)")
    parser.add_argument("--method", choices=STEERED, action="append", help="beside lp-ds (default: both)")
    parser.add_argument("--seed", type=int, action="append", help="(default: those of the task's protocol)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="(default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="put what is done on record in benchmarks/records/")
    arguments = parser.parse_args(argv)
    console = Console()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tasks, methods = arguments.task or TASKS, arguments.method or STEERED
    seeds_of = {task: tuple(dict.fromkeys(arguments.seed or load_task(task).protocol.seeds)) for task in tasks}
    found = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("runs", total=sum(len(seeds) for seeds in seeds_of.values()) * (1 + len(methods)))

        def cell(task: str, method: str, seed: int) -> Cell:
            bar.update(row, description=f"{task}: {method}, seed {seed}", advance=1)
            protocol = load_task(task).protocol
            return Cell(task, method, seed, protocol.episodes, protocol.trials)

        for task, seeds in seeds_of.items():
            ends = {seed: run_cell(cell(task, DIVERSE, seed), arguments.out, record=arguments.record) for seed in seeds}
            for method in methods:
                paths = {
                    seed: path_of(cell(task, method, seed), arguments.out, record=arguments.record) for seed in seeds
                }
                found.append(alike(task, method, ends, paths))
    draw(found, arguments.out / "diversity.png")
    figures: dict[str, Any] = {"seeds": {task: list(seeds) for task, seeds in seeds_of.items()}, "trials": TRIALS}
    for one in found:
        figures |= one.figures
    write_json_results(arguments.out / "diversity_results.json", figures)
    return ending.show(console, table(found), "\n".join(map(str, found)), figures)


def table(those: Sequence[Alike]) -> Table:
    """A row for each point of each method's way."""
    shown = Table("task", "method", "episodes", "success", "entropy, nats", "lp-ds at its end")
    for one in those:
        for i, point in enumerate(one.path):
            shown.add_row(
                one.task,
                one.method,
                f"{point['episodes']:.0f}",
                f"{point['success']:.2f}",
                f"{point['action_entropy']:.0f}",
                f"success {one.success:.2f}, {one.entropy:.0f} nats" if i == one.at else "",
            )
    return shown


if __name__ == "__main__":
    sys.exit(main())
