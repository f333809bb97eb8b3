"""`python -m benchmarks.gym --env ID --method M --seeds N`: do the methods help on environments that nobody here wrote?

For each environment a flow policy is cloned from an imperfect expert's episodes (`benchmarks.gym.known` says in which
way), then each method learns on each seed from one 0/1 an episode, with the settings that all environments share
(`benchmarks.gym.settings`); adapter and frozen policy are judged on the same starts, which were never trained on.
Episodes, trials and seeds are given before the run. What was done for this very code is read and not run again;
`--record` puts it on record.

Of an environment that is not known here it is looked for first, by 100 trials a look, how few demonstrations make the
frozen policy succeed in 30 to 60 % (`benchmarks.gym.finding`). With `--demonstrations`, `--noise`, `--bias` or
`--short` nothing is looked for, and there are 50 unless another number is named. `--policy-only` ends there: nothing is
trained on it.

An environment's own package has to be installed, and gymnasium. Meta-World pins an older MuJoCo than the twin's, so it
and gymnasium-robotics have an environment of their own:

    python3 -m venv .venv-gym
    .venv-gym/bin/pip install -c benchmarks/gym/constraints.txt -e '.[cli,store,learn]' metaworld gymnasium-robotics
    .venv-gym/bin/python -m benchmarks.gym --env Meta-World/box-close-v3
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import ending
from benchmarks.arguments import count
from benchmarks.gym.cells import Cell, frozen_alone, run_cell
from benchmarks.gym.checks import require_usable
from benchmarks.gym.finding import imperfect
from benchmarks.gym.known import KNOWN
from benchmarks.gym.options import OF_ITS_DEMONSTRATIONS, add_task_options, changes, chosen_task
from benchmarks.gym.settings import METHODS, POLICY, SETTINGS, SHORT_POLICY
from benchmarks.gym.summary import SEEDS, draw, mixed, of_frozen, summarise, table
from benchmarks.gym.tasks import GymTask
from robot_rl.cli.app import method_name
from robot_rl.learn.device import use_one_thread

LONG = {"seeds": SEEDS, "episodes": 300, "trials": 100}
SHORT = {"seeds": 1, "episodes": 12, "trials": 5}
OF_TRAINING = ("method", "seeds", "episodes", "record")
OF_THE_PROTOCOL = ("short", "episodes", "trials")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gym", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--env",
        action="append",
        help=f"gymnasium id, or Meta-World/NAME (known: {', '.join(KNOWN)}); of one of your own that is not installed, "
        "other files of its package, or of what it imports, make other cells",
    )
    parser.add_argument(
        "--method",
        action="append",
        type=method_name,
        choices=tuple(SETTINGS),
        help=f"may be given again (default: {', '.join(METHODS)})",
    )
    for name, what in (("seeds", "how many, from 0 on"), ("episodes", "of training"), ("trials", "of each evaluation")):
        parser.add_argument(
            f"--{name}", type=count, help=f"{what} (default: {LONG[name]}; with --short: {SHORT[name]})"
        )
    add_task_options(parser)
    parser.add_argument("--policy-only", action="store_true", help="clone the frozen policy and judge it")
    parser.add_argument(
        "--short", "--quick", action="store_true", help="a small policy, one seed, a few episodes: does it run?"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gym"), help="(default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="put what is done on record in benchmarks/records/gym/")
    arguments = parser.parse_args(argv)
    if not arguments.env:
        parser.error("--env: name one or more environments")
    if arguments.record and (changed := changes(arguments)):
        parser.error(f"--record: not with --{changed[0].replace('_', '-')}; put it into benchmarks/gym/known.py first")
    if arguments.record and (other := changes(arguments, OF_THE_PROTOCOL)):
        parser.error(f"--record: not with --{other[0]}: cells on record are of one length")
    if arguments.policy_only and (trained := changes(arguments, OF_TRAINING)):
        parser.error(f"--policy-only: not with --{trained[0]}: nothing is trained")
    if arguments.record and (unknown := [env for env in arguments.env if env not in KNOWN]):
        parser.error(f"--record: {unknown[0]} is not known here; put it into benchmarks/gym/known.py first")
    use_one_thread()
    return ending.in_words(lambda: run(arguments, Console(width=None if sys.stdout.isatty() else 160)))


def run(arguments: argparse.Namespace, console: Console) -> int:
    """What was asked for. Raises `RobotRLError`."""
    ending.usable(arguments.out)
    tasks = [chosen_task(env, arguments) for env in dict.fromkeys(arguments.env)]
    for task in tasks:
        require_usable(task)
    length = SHORT if arguments.short else LONG
    seeds, episodes, trials = (getattr(arguments, name) or default for name, default in length.items())
    methods = () if arguments.policy_only else tuple(dict.fromkeys(arguments.method or METHODS))
    policy = SHORT_POLICY if arguments.short else POLICY
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results: list[dict[str, Any]] = []
    frozen: dict[str, Any] = {}
    with Progress(*columns, console=console) as bar:
        doing = bar.add_task("", visible=False)

        def progress(stage: str, step: int, steps: int, loss: float) -> None:
            bar.update(doing, description=stage, completed=step, total=steps, visible=True)

        def judge(task: GymTask, count: int) -> dict[str, Any]:
            return frozen_alone(task, policy, count, arguments.out, progress)

        def looked_at(task: GymTask) -> float:
            return float(judge(task, LONG["trials"])["success"])

        say = partial(console.print, markup=False, emoji=False)
        if not (arguments.short or changes(arguments, OF_ITS_DEMONSTRATIONS)):
            tasks = [task if task.env in KNOWN else imperfect(task, looked_at, say) for task in tasks]
        if arguments.policy_only:
            frozen = {name: figure for task in tasks for name, figure in of_frozen(judge(task, trials)).items()}
        cells = [
            Cell(task, method, seed, episodes, trials, policy)
            for task in tasks
            for method in methods
            for seed in range(seeds)
        ]
        row = bar.add_task("cells (environment, method, seed)", total=len(cells), visible=bool(cells))
        for cell in cells:
            results.append(run_cell(cell, arguments.out, progress, record=arguments.record))
            bar.advance(row)
    if not cells:
        console.file.write(json.dumps(frozen) + "\n")
        return 0
    words = [_drawn(results, arguments.out / "gym.png"), *mixed(results)]
    return ending.show(console, table(results), "\n".join(words), summarise(results))


def _drawn(results: list[dict[str, Any]], picture: Path) -> str:
    """Where the curves are, in words; a picture that cannot be written costs no table."""
    try:
        draw(results, picture)
    except OSError as error:
        return f"no curves: {picture} cannot be written; {error.strerror or error}"
    return f"curves: {picture}"


if __name__ == "__main__":
    sys.exit(main())
