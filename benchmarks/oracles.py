"""`python -m benchmarks.oracles`: what can be reached on a task at all, before anything is learnt.

Controllers that know the answer (`sim_twin.oracles`) on the starts that are kept for choosing; learning never sees
those. A task whose frozen policy could not be steered to success would say nothing about a method.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.lid_opening import TASKS
from robot_rl.compositions.plan import load_policy
from robot_rl.compositions.results import Rate
from robot_rl.config import load_task, task_path
from robot_rl.twins import Split
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.oracles import ORACLES, run_oracle


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
            policy, twin = load_policy(task, task_path(name)), LidOpeningTwin(task)
            for oracle in oracles:
                row = bar.add_task(f"{name}: {oracle}", total=arguments.trials)
                won = 0
                for trial in range(arguments.trials):
                    twin.reset(twin.draw(Split.SELECT, arguments.seed, trial))
                    rng = np.random.default_rng((arguments.seed, trial))
                    won += run_oracle(oracle, policy, twin, task.method("usr"), task.max_steps, rng)
                    bar.advance(row)
                rates[f"{name}_{oracle}"] = Rate(won, arguments.trials)
    table = Table("task", *oracles, title=f"success of {arguments.trials} trials, 95 % Wilson interval")
    for name in tasks:
        table.add_row(name, *(str(rates[f"{name}_{oracle}"]) for oracle in oracles))
    console.print(table)
    figures = {key: rate.rate for key, rate in rates.items()}
    figures |= {f"{key}_interval": list(rate.interval) for key, rate in rates.items()}
    console.file.write(json.dumps({"trials": arguments.trials, "seed": arguments.seed, **figures}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
