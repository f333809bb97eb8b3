"""`python -m benchmarks.diversity`: what is left of the frozen policy's variety where LP-DS and DSRL succeed alike.

At the end of a run the two differ in success too, and whoever has learnt more has less variety left. So DSRL is judged
on its way as well, at `MARKS` of its run. Where the mean of its seeds first comes to LP-DS's at its end, between two
marks, its k-NN entropy (LP-DS paper, appendix C) is interpolated and compared with LP-DS's, paired by seed. Success is
that of an adapter as it is deployed, DSRL's being the mode of its actor; entropy that of one that explores, without
which DSRL, as it is deployed, would have none at all.

Runs, and LP-DS's ends, are the cells of `benchmarks.lid_opening`, and taken from there if they were run in the same
folder, or are on record. A run that is judged is not judged again; `--record` keeps it in
`benchmarks/records/diversity/`.
"""

from __future__ import annotations

import argparse
import contextlib
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

from benchmarks import cells, ending
from benchmarks.cells import Cell, Latched, robot_rl, run_cell, train
from benchmarks.intervals import half_width
from benchmarks.lid_opening import TASKS
from benchmarks.provenance import on_record
from benchmarks.summary import method_key
from benchmarks.verdicts import DIVERSE, STEERED
from robot_rl.adapters.files import read_manifests
from robot_rl.compositions.results import write_json_results
from robot_rl.errors import ConfigError
from robot_rl.task_files import load_task

MARKS = (0.1, 0.25, 0.5, 1.0)
"""Shares of a run's episodes, after which its newest adapter is judged: the first is the warm-up's end."""

Point = Mapping[str, float]
"""`episodes`, `success`, `action_entropy` of an adapter (nats)."""


def cell_of(task: str, method: str, seed: int) -> Cell:
    """By the task's protocol."""
    protocol = load_task(task).protocol
    return Cell(task, method, seed, protocol.episodes, protocol.trials)


def records() -> Path:
    """Where judged runs are kept."""
    return cells.RECORDS / "diversity"


def path_of(cell: Cell, out: Path, *, record: bool = False) -> list[Point]:
    """A run's adapters at `MARKS`; trained, or taken from where it was, and put on `record` if asked."""
    done = out / cell.name / "diversity.json"
    made = cells.once(done, cell.kind, cell.name, lambda: _judge(cell, out), record, records(), _fits)
    found: list[Point] = made["path"]
    return found


def _fits(made: Mapping[str, Any]) -> bool:
    return made["marks"] == list(MARKS)


def _judge(cell: Cell, out: Path) -> dict[str, Any]:
    folder = out / cell.name
    with contextlib.suppress(Latched):  # judged by what it had learnt until then, as in the table
        train(cell, folder)
    versions = {one["through_episode"]: one["version"] for one in read_manifests(folder / "adapters")}
    path = []
    for mark in MARKS:
        episodes = round(mark * cell.episodes)
        newest = max((through for through in versions if through <= episodes), default=None)
        if newest is None:
            raise ConfigError(f"{folder} has no adapter from before episode {episodes}")
        which = ["--version", str(versions[newest]), "--trials", str(cell.trials), "--seed", str(cell.seed)]
        said = json.loads(robot_rl(["eval", str(folder), *which], folder).strip().splitlines()[-1])
        path.append({"episodes": episodes, **{name: said[name] for name in ("success", "action_entropy")}})
    return {"marks": list(MARKS), "path": path}


@dataclass(frozen=True)
class Alike:
    """LP-DS at its end beside a method on its way, where that has first come to the same success."""

    task: str
    method: str
    seeds: list[int]
    success: float
    """Of LP-DS, mean over seeds."""
    entropy: float
    """Of LP-DS, nats, mean over seeds."""
    path: list[Point]
    """Of the other, means over seeds."""
    there: Point | None
    """Of the other, interpolated to LP-DS's success, means over seeds; None: it is never below and then above."""
    more: tuple[float, float | None] | None
    """Nats that LP-DS has more there: mean over seeds, and half of a 95 % interval, which one seed has not."""

    def __str__(self) -> str:
        ends = f"`{DIVERSE}` on `{self.task}`, at success {self.success:.2f}, has {self.entropy:.0f} nats"
        if self.there is None or self.more is None:
            first, last = self.path[0], self.path[-1]
            never = "is above that from the first mark on" if first["success"] >= self.success else "never comes to it"
            return f"{ends}; `{self.method}` {never} ({last['success']:.2f} at its end): no comparison"
        mean, half = self.more
        apart = f"{mean:+.0f}, of one seed"
        if half is not None:
            word = "more" if mean - half > 0 else "less" if mean + half < 0 else "no different, as far as can be told"
            apart = f"{mean:+.0f} +- {half:.0f}, {word}"
        return (
            f"{ends}; `{self.method}`, which comes to it after about {self.there['episodes']:.0f} episodes, has "
            f"{self.there['action_entropy']:.0f} nats there: {apart}"
        )

    @property
    def figures(self) -> dict[str, Any]:
        """Snake_case name -> figure."""
        key = f"{self.task}_{method_key(self.method)}"
        return {
            f"{key}_seeds": self.seeds,
            f"{key}_lp_ds_success": self.success,
            f"{key}_lp_ds_action_entropy": self.entropy,
            f"{key}_episodes_at_equal_success": self.there and self.there["episodes"],
            f"{key}_entropy_at_equal_success": self.there and self.there["action_entropy"],
            f"{key}_more_entropy_of_lp_ds": self.more and self.more[0],
            f"{key}_more_entropy_half_width_95": self.more and self.more[1],
        }


def alike(task: str, method: str, ends: Mapping[int, Point], paths: Mapping[int, Sequence[Point]]) -> Alike:
    """`ends`: LP-DS by seed; `paths`: of `method` by seed. Over the seeds that both have; raises `ConfigError` if none.

    Where the mean success crosses LP-DS's is taken as known: the interval is of entropies alone.
    """
    seeds = sorted(set(ends) & set(paths))
    if not seeds:
        raise ConfigError(f"{task}: {DIVERSE} and {method} have no seed in common")
    success = _mean([ends[seed]["success"] for seed in seeds])
    entropies = np.array([ends[seed]["action_entropy"] for seed in seeds])
    points = [[paths[seed][i] for seed in seeds] for i in range(len(paths[seeds[0]]))]
    means = [{name: _mean([one[name] for one in those]) for name in those[0]} for those in points]
    rises = [i for i in range(1, len(means)) if means[i - 1]["success"] < success <= means[i]["success"]]
    if not rises:
        return Alike(task, method, seeds, success, float(entropies.mean()), means, None, None)
    before, after = rises[0] - 1, rises[0]
    share = (success - means[before]["success"]) / (means[after]["success"] - means[before]["success"])
    there = {name: (1 - share) * means[before][name] + share * means[after][name] for name in means[before]}
    theirs = [
        (1 - share) * one["action_entropy"] + share * other["action_entropy"]
        for one, other in zip(points[before], points[after], strict=True)
    ]
    apart = entropies - np.array(theirs)
    more = float(apart.mean()), half_width(apart.tolist())
    return Alike(task, method, seeds, success, float(entropies.mean()), means, there, more)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def recorded() -> dict[str, dict[str, dict[Cell, list[Point]]]]:
    """Task -> method -> its judged runs on record; those of other code too, where there is none of this."""
    found: dict[str, dict[str, dict[Cell, list[Point]]]] = {}
    for task in TASKS:
        for method in STEERED:
            for seed in load_task(task).protocol.seeds:
                cell = cell_of(task, method, seed)
                made = on_record(records(), cell.kind, cell.name, ("marks", "path"))
                if made is not None and _fits(made):
                    found.setdefault(task, {}).setdefault(method, {})[cell] = made["path"]
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
        for one in (one for one in those if one.task == task):
            colour = f"C{STEERED.index(one.method)}"
            xs, ys = [p["success"] for p in one.path], [p["action_entropy"] for p in one.path]
            panel.plot(xs, ys, color=colour, marker="o", ms=5, label=f"{one.method}, after so many episodes")
            for point in one.path:
                place = point["success"], point["action_entropy"]
                panel.annotate(
                    f"{point['episodes']:.0f}", place, (4, 5), textcoords="offset points", fontsize=8, color=colour
                )
            panel.scatter([one.success], [one.entropy], color="C3", edgecolor=colour, marker="D", s=46, zorder=3)
            panel.axvline(one.success, color="C3", lw=0.8, ls=":")
        panel.scatter([], [], color="C3", marker="D", s=46, label=f"{DIVERSE}, at its end")
        panel.set(title=f"{task}, means over seeds", xlabel="success", ylabel="k-NN entropy of chunks, nats")
        panel.legend(fontsize=8)
    figure.savefig(path)
    pyplot.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Train and judge what is missing, print the table, draw; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diversity", description=__doc__)
    parser.add_argument("--task", choices=TASKS, action="append", help="(default: both)")
    parser.add_argument("--method", choices=STEERED, action="append", help=f"beside {DIVERSE} (default: both)")
    parser.add_argument("--seed", type=int, action="append", help="(default: those of the task's protocol)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="(default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="put what is done on record in benchmarks/records/")
    arguments = parser.parse_args(argv)
    console = Console()
    ending.usable(arguments.out)
    tasks, methods = arguments.task or TASKS, list(dict.fromkeys(arguments.method or STEERED))
    seeds_of = {task: list(dict.fromkeys(arguments.seed or load_task(task).protocol.seeds)) for task in tasks}
    found = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("runs", total=sum(len(seeds) for seeds in seeds_of.values()) * (1 + len(methods)))

        def next_cell(task: str, method: str, seed: int) -> Cell:
            bar.update(row, description=f"{task}: {method}, seed {seed}")
            return cell_of(task, method, seed)

        for task, seeds in seeds_of.items():
            ends = {}
            for seed in seeds:
                ends[seed] = run_cell(next_cell(task, DIVERSE, seed), arguments.out, record=arguments.record)
                bar.advance(row)
            for method in methods:
                paths = {}
                for seed in seeds:
                    paths[seed] = path_of(next_cell(task, method, seed), arguments.out, record=arguments.record)
                    bar.advance(row)
                found.append(alike(task, method, ends, paths))
    draw(found, arguments.out / "diversity.png")
    figures: dict[str, Any] = {}
    for one in found:
        figures |= one.figures
    write_json_results(arguments.out / "diversity_results.json", figures)
    return ending.show(console, table(found), "\n".join(map(str, found)), figures)


def table(those: Sequence[Alike]) -> Table:
    """A row for each point of each method's way, and one for LP-DS's end."""
    shown = Table("task", "method", "episodes", "success", "entropy, nats")
    for one in those:
        for point in one.path:
            shown.add_row(
                one.task,
                one.method,
                f"{point['episodes']:.0f}",
                f"{point['success']:.2f}",
                f"{point['action_entropy']:.0f}",
            )
        shown.add_row(one.task, f"{DIVERSE}, same seeds", "at its end", f"{one.success:.2f}", f"{one.entropy:.0f}")
    return shown


if __name__ == "__main__":
    sys.exit(ending.in_words(main))
