"""The section of docs/results.md on environments of others, from what is on record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import provenance
from benchmarks.gym import cells
from benchmarks.gym.cells import Cell
from benchmarks.gym.known import task_of
from benchmarks.gym.settings import METHODS, SETTINGS
from benchmarks.gym.summary import SEEDS, Result, draw, grouped, improved, mixed, moves, moving_seeds, table

ENOUGH = 4
"""Seeds of `SEEDS` that a method must have improved, to be said to help: without any effect, one in five does."""
OF_VELOCITY = (
    "Why velocity need not follow the paper's: its table II is of a task whose actions are positions, and what jitters "
    "in a position is velocity, and more so acceleration. An action of Meta-World's is a displacement: what jitters is "
    "acceleration, beside a velocity that the way to the goal asks for. A residual per step raises the one and not the "
    "other in the table above; one that is constant over a chunk jitters little.\n"
)


def section(images: Path, markdown: Callable[[Table], list[str]]) -> list[str]:
    """Its lines; none while nothing is on record. The picture is drawn into `images`."""
    results = recorded()
    if not results:
        return []
    picture = images / "results_gym.png"
    draw(results, picture)
    parts = [
        "## Environments of others\n",
        "`python -m benchmarks.gym --env ID`: a flow policy cloned from an imperfect expert, and methods with the "
        "settings that all environments share (`benchmarks/gym/settings.py`, chosen on a seed of box-close that is not "
        "in the table, with the same frozen policy), on the same sparse 0/1. *better*: seeds in which the adapter "
        "succeeded more often than the "
        "frozen policy; by chance alone 4 or more of 5 come in one case of five. *gain*: with half of a 95 % interval "
        "over seeds.\n",
        f"![success by episode](images/{picture.name})\n",
        *markdown(table(results)),
        "",
        *(f"- {words}" for words in said(results)),
        "",
        OF_VELOCITY,
    ]
    parts += [f"{words}.\n" for words in mixed(results)]
    equal, other = provenance.apart(map(cell_of, results), cells.RECORDS, lambda cell: (cell.task.env, cell.method))
    return parts + provenance.words(_named(equal), _named(other))


def _named(those: Sequence[Cell]) -> str:
    return ", ".join(dict.fromkeys(f"`{cell.task.env}` {cell.method}" for cell in those))


def recorded() -> list[Result]:
    """The cells on record of the table's seeds, by environment, method and seed."""
    every = [provenance.read_record(path) for path in sorted(cells.RECORDS.glob("*.json"))]
    found: list[Result] = [one for one in every if one["seed"] < SEEDS]
    order = list(SETTINGS)
    return sorted(found, key=lambda one: (one["env"], order.index(one["method"]), one["seed"]))


def cell_of(result: Result) -> Cell:
    """The cell that this code would make in its place."""
    return Cell(task_of(result["env"]), *(result[name] for name in ("method", "seed", "episodes", "trials")))


def said(results: Sequence[Result]) -> list[str]:
    """In words, for each environment: what was imperfect, which methods helped, and whether ZPRL moves more gently."""
    lines = []
    groups = grouped(results)
    for env in dict.fromkeys(env for env, _ in groups):
        methods: dict[str, Sequence[Result]] = {method: seeds for (one, method), seeds in groups.items() if one == env}
        any_one: Any = next(iter(methods.values()))[0]
        helped = [
            f"`{name}` ({improved(seeds)} of {len(seeds)})"
            for name, seeds in methods.items()
            if improved(seeds) >= ENOUGH
        ]
        missing = [
            f"`{name}` {', '.join(str(seed) for seed in lacking)}"
            for name in dict.fromkeys((*METHODS, *methods))
            if (lacking := sorted(set(range(SEEDS)) - {one["seed"] for one in methods.get(name, ())}))
        ]
        words = f"`{env}` (demonstrations: {any_one['imperfection']}): better than the frozen policy in {ENOUGH} or "
        words += f"more of {SEEDS} seeds: {', '.join(helped) or 'none'}"
        words += f"; not run yet, by seed: {'; '.join(missing)}" if missing else ""
        at_bound = [one.get("base_at_bound") for seeds in methods.values() for one in seeds]
        if known := [share for share in at_bound if share is not None]:  # older records do not say
            words += f"; the frozen policy asks for all that the range allows in {100 * np.mean(known):.0f} % of its "
            words += "steps, where it succeeds"
        words += "".join(
            _gentler(methods["zprl"], methods[other], other)
            for other in ("policy-decorator:paper", "policy-decorator:per-step", "policy-decorator")
            if {"zprl", other} <= methods.keys()
        )
        lines.append(words + ".")
    return lines


def _gentler(zprl: Sequence[Result], other: Sequence[Result], name: str) -> str:
    """How both move while they explore, and at what success, of the seeds that say so of both."""
    shares = moves(zprl, other, "exploring_motion")
    seeds = moving_seeds(zprl, other, "exploring_motion")
    if None in shares.values():
        return ""
    velocity, acceleration = (f"{100 * (share - 1):+.0f} %" for share in shares.values() if share is not None)
    good, theirs = (np.mean([one["success"] for one in each if one["seed"] in seeds]) for each in (zprl, other))
    return (
        f"; commanded while exploring, on starts on which both succeed, `zprl` against `{name}`: velocity {velocity}, "
        f"acceleration {acceleration} (-29 % and -39 % in ZPRL's table II), at success {good:.2f} and {theirs:.2f}, "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {' '.join(map(str, seeds))}"
    )
