"""`python -m benchmarks.oracles`: what can be reached on a task at all, before anything is learnt.

Controllers that know the answer (`sim_twin.oracles`) on the starts that are kept for choosing; learning never sees
those. A task whose frozen policy could not be steered to success would say nothing about a method; what each method
can hope for is `robot-rl authority`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import ending
from benchmarks.lid_opening import TASKS
from robot_rl.authority.ceilings import rollouts
from robot_rl.compositions.plan import load_policy
from robot_rl.compositions.results import Rate
from robot_rl.task_files import load_task, task_path
from sim_twin.oracles import ORACLES, named_oracle


def main(argv: Sequence[str] | None = None) -> int:
    """Run them, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oracles", description=__doc__)
    parser.add_argument("--task", choices=TASKS, action="append", help="(default: both)")
    parser.add_argument("--oracle", choices=ORACLES, action="append", help="(default: all)")
    parser.add_argument("--trials", type=int, default=150, help="episodes of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the starts (default: %(default)s)")
    arguments = parser.parse_args(argv)
    tasks, oracles = arguments.task or TASKS, arguments.oracle or ORACLES
    console = Console()
    rates: dict[str, Rate] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        for name in tasks:
            task = load_task(name)
            policy = load_policy(task, task_path(name))
            for oracle in oracles:
                row = bar.add_task(f"{name}: {oracle}", total=arguments.trials)
                guide, make = named_oracle(oracle, task, policy)

                def advance(done: int, row: TaskID = row) -> None:
                    bar.update(row, completed=done)

                played = rollouts(make, guide, policy, task.max_steps, arguments.trials, arguments.seed, advance)
                rates[f"{name}_{oracle}"] = Rate(sum(episode.success for episode in played), arguments.trials)
    table = Table("task", *oracles, title=f"success of {arguments.trials} trials, 95 % Wilson interval")
    for name in tasks:
        table.add_row(name, *(str(rates[f"{name}_{oracle}"]) for oracle in oracles))
    console.print(table)
    figures = {key: rate.rate for key, rate in rates.items()}
    figures |= {f"{key}_interval": list(rate.interval) for key, rate in rates.items()}
    console.file.write(json.dumps({"trials": arguments.trials, "seed": arguments.seed, **figures}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(ending.in_words(main))
