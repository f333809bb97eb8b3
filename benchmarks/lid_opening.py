"""`python -m benchmarks.lid_opening`: does the adapter learn to open the lid, and does it need what USR adds?

For each task, method and seed of the task's protocol a cell (`benchmarks.cells`): trained, then evaluated on starts
that were never trained on; beside it what a controller reaches that knows the answer (`robot-rl authority`). Seeds,
episodes and trials are the task file's; nothing is chosen here. `--all-methods` takes every entry of the task file;
`--short` is a small one for CI, which shows that the benchmark runs, not how well the methods learn. Cells that the
repository has on record for this very code are not run again; `--record` adds to them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import ending
from benchmarks.arguments import count
from benchmarks.cells import Cell, ceiling_trials, run_ceilings, run_cell
from benchmarks.curves import draw
from benchmarks.summary import summarise, table
from benchmarks.verdicts import sentences
from robot_rl.compositions.results import write_json_results
from robot_rl.task_files import load_task

TASKS = ("lid_opening", "lid_opening_strict")
METHODS = ("usr", "dsrl-na")
"""Those of the main question."""
SHORT_EPISODES, SHORT_TRIALS = 11, 5


def cells_of(tasks: Sequence[str], methods: Sequence[str] | None, short: bool) -> list[Cell]:
    """What the tasks' protocols ask for, seed by seed; all of a task's methods for None, one small seed for `short`.

    Raises `ConfigError` for a method that a task has no settings for.
    """
    cells = []
    for name in tasks:
        task = load_task(name)
        protocol = task.protocol
        entries = list(task.methods) if methods is None else methods
        for entry in entries:
            task.method(entry)
        seeds = protocol.tuning_seeds[:1] if short else protocol.seeds
        episodes = SHORT_EPISODES if short else protocol.episodes
        trials = SHORT_TRIALS if short else protocol.trials
        cells += [Cell(name, entry, seed, episodes, trials) for seed in seeds for entry in entries]
    return cells


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lid_opening", description=__doc__)
    parser.add_argument("--task", choices=TASKS, action="append", help="(default: both)")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--method", action="append", help=f"(default: {' and '.join(METHODS)})")
    chosen.add_argument("--all-methods", action="store_true", help="every entry of the task files")
    parser.add_argument(
        "--short", "--quick", action="store_true", help="a few episodes of one tuning seed: does it run?"
    )
    parser.add_argument("--jobs", type=count, default=2, help="cells at a time, a core each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="(default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="put what is done on record in benchmarks/records/")
    arguments = parser.parse_args(argv)
    console = Console()
    methods = None if arguments.all_methods else arguments.method or METHODS
    tasks = arguments.task or TASKS
    cells = cells_of(tasks, methods, arguments.short)
    measured = () if arguments.short else tasks
    ending.usable(arguments.out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar, ThreadPoolExecutor(arguments.jobs) as pool:
        row = bar.add_task("cells (task, method, seed), ceilings", total=len(cells) + len(measured))

        def work(cell: Cell) -> dict[str, Any]:
            result = run_cell(cell, arguments.out, record=arguments.record)
            bar.advance(row)
            return result

        def ceilings_of(task: str) -> dict[str, dict[str, Any]]:
            found = run_ceilings(task, ceiling_trials(task), arguments.out, record=arguments.record)
            bar.advance(row)
            return found

        highest = pool.map(ceilings_of, measured)
        results = dict(zip(cells, pool.map(work, cells), strict=True))
        ceilings = dict(zip(measured, highest, strict=True))
    summary = summarise(results, ceilings)
    console.print(table(results, summary))
    for task in tasks:
        for words in sentences(task, list(dict.fromkeys(cell.method for cell in cells)), summary):
            console.print(f"{task}: {words}", markup=False, soft_wrap=True)
    draw(results, summary, arguments.out / "curves.png")
    write_json_results(arguments.out / "summary.json", summary)
    console.file.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(ending.in_words(main))
