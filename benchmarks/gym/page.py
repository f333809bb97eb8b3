"""The section of docs/results.md on environments of others, from what is on record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks import provenance
from benchmarks.gym import cells
from benchmarks.gym.cells import Cell
from benchmarks.gym.known import task_of
from benchmarks.gym.settings import METHODS, SETTINGS
from benchmarks.gym.summary import (
    PARTS,
    SEEDS,
    Moves,
    Result,
    draw,
    gain_in_words,
    grouped,
    improved,
    mixed,
    moves,
    table,
    worse,
)
from benchmarks.studies.zprl_smoothness import PAPER
from robot_rl.errors import ConfigError

ENOUGH = 4
"""Seeds of `SEEDS` that a method must have improved, to be said to help: without any effect, one in five does."""
TABLE_II = (
    f"That ZPRL commands {100 * PAPER['velocity']:.0f} % less velocity and {100 * PAPER['acceleration']:.0f} % less "
    "acceleration than an action residual, at equal or better success (ZPRL, table II)"
)
ANCHOR = "how-gently-zprl-moves"
AS_GOOD = 0.05
"""As much less success is no less, where motion is compared."""
PER_STEP = ("policy-decorator:per-step", "policy-decorator:paper")
"""Whose residual is another in each step of a chunk."""


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
    ]
    parts += [f"{words}.\n" for words in mixed(results)]
    equal, other = provenance.apart(map(cell_of, results), cells.RECORDS, lambda cell: (cell.task.env, cell.method))
    return [*parts, *provenance.words(_named(equal), _named(other)), *_motion(results)]


def _named(those: Sequence[Cell]) -> str:
    return ", ".join(dict.fromkeys(f"`{cell.task.env}` {cell.method}" for cell in those))


def recorded() -> list[Result]:
    """The cells on record of the table's seeds, by environment, method and seed."""
    needs = {*cells.IDENTITY, *cells.FIGURES}
    found: dict[str, Result] = {}
    for path in sorted(cells.RECORDS.glob("*.json")):
        record = provenance.read_record(path, needs)
        cell = cell_of(record)
        provenance.require_kind(path, cell.kind)
        if len(record["curve"]) != cell.episodes:
            raise provenance.damaged(path, f"a curve of {len(record['curve'])} episodes, not {cell.episodes}")
        if cell.seed < SEEDS and cell.method in SETTINGS:
            found[cell.kind] = provenance.on_record(cells.RECORDS, cell.kind, cell.name, needs) or record
    if len(sizes := {(one["episodes"], one["trials"]) for one in found.values()}) > 1:
        raise ConfigError(f"{cells.RECORDS}: expected cells of one length, got {sorted(sizes)} (episodes, trials)")
    order = list(SETTINGS)
    return sorted(found.values(), key=lambda one: (one["env"], order.index(one["method"]), one["seed"]))


def cell_of(result: Result) -> Cell:
    """The cell that this code would make in its place."""
    return Cell(task_of(result["env"]), *(result[name] for name in ("method", "seed", "episodes", "trials")))


def said(results: Sequence[Result]) -> list[str]:
    """In words, for each environment: what was imperfect, and which methods helped."""
    lines = []
    for env, methods in by_env(results).items():
        any_one: Any = next(iter(methods.values()))[0]
        missing = [
            f"`{name}` {', '.join(str(seed) for seed in lacking)}"
            for name in dict.fromkeys((*METHODS, *methods))
            if (lacking := sorted(set(range(SEEDS)) - {one["seed"] for one in methods.get(name, ())}))
        ]
        words = f"`{env}` (demonstrations: {any_one['imperfection']}): {_helped(methods)}"
        words += f"; not run, by seed: {'; '.join(missing)}" if missing else ""
        at_bound = [one.get("base_at_bound") for seeds in methods.values() for one in seeds]
        if known := [share for share in at_bound if share is not None]:  # older records do not say
            words += f"; the frozen policy asks for all that the range allows in {100 * np.mean(known):.0f} % of its "
            words += "steps, where it succeeds"
        lines.append(words + ".")
    return lines


def by_env(results: Sequence[Result]) -> dict[str, dict[str, list[Result]]]:
    """Environment -> method -> its seeds."""
    found: dict[str, dict[str, list[Result]]] = {}
    for (env, method), seeds in grouped(results).items():
        found.setdefault(env, {})[method] = seeds
    return found


def _judged(methods: Mapping[str, Sequence[Result]]) -> dict[str, Sequence[Result]]:
    """Those with enough seeds."""
    return {name: seeds for name, seeds in methods.items() if len(seeds) >= ENOUGH}


def _helped(methods: Mapping[str, Sequence[Result]]) -> str:
    """Of those with enough seeds, which are better than the frozen policy in enough of them, and which are worse."""
    judged = {name: improved(seeds) for name, seeds in _judged(methods).items()}
    counts = ", ".join(f"`{name}` {improved(seeds)} of {len(seeds)}" for name, seeds in methods.items())
    if not judged:
        return f"of too few seeds to say what helps; better than the frozen policy: {counts}"
    helped = [f"`{name}` ({better} of {len(methods[name])})" for name, better in judged.items() if better >= ENOUGH]
    harmed = [f"`{name}` ({gain_in_words(methods[name])})" for name in judged if worse(methods[name])]
    words = f"better than the frozen policy in {ENOUGH} or more of {SEEDS} seeds: {', '.join(helped) or 'none'}"
    return words + (f"; worse, as far as the seeds can tell: {', '.join(harmed)}" if harmed else "")


@dataclass(frozen=True)
class Gentler:
    """What table II of ZPRL claims, in one environment against one kind of Policy Decorator."""

    env: str
    other: str
    moved: Moves
    success: tuple[float, float]
    """ZPRL's and the other's, means over the seeds that are compared."""

    @property
    def lower(self) -> list[str]:
        """What is."""
        return [part for part in PARTS if self.moved.lower(part)]

    @property
    def as_good(self) -> bool:
        return self.success[0] >= self.success[1] - AS_GOOD

    @property
    def word(self) -> str:
        """As a sentence has it."""
        if not self.lower:
            return "does not hold"
        enough = all((self.moved.mean(part) or 0.0) <= 1 - PAPER[part] / 2 for part in PARTS)
        return "holds" if len(self.lower) == len(PARTS) and enough and self.as_good else "holds in part"

    def __str__(self) -> str:
        changed = ", ".join(f"{part} {self.moved.change(part)}" for part in PARTS)
        starts = ", ".join(f"{count} ({seed})" for seed, count in self.moved.starts.items())
        known = f"{' and '.join(self.lower)} {'are' if self.lower[1:] else 'is'}" if self.lower else "neither is"
        told = f"{known} lower, as far as the seeds can tell{'' if self.as_good else ', at less success'}"
        return (
            f"`{self.env}`, against `{self.other}`: {changed}, at success {self.success[0]:.2f} and "
            f"{self.success[1]:.2f}; starts (seed): {starts}. It {self.word}: {told}"
        )


def gentler(results: Sequence[Result]) -> list[Gentler]:
    """Wherever two or more seeds have starts on which both succeed."""
    found = []
    for env, methods in by_env(results).items():
        for other in methods:
            if other.startswith("policy-decorator") and "zprl" in methods:
                moved = moves(methods["zprl"], methods[other], "exploring_motion")
                if len(moved.starts) > 1:
                    ours, theirs = (
                        float(np.mean([one["success"] for one in methods[name] if one["seed"] in moved.starts]))
                        for name in ("zprl", other)
                    )
                    found.append(Gentler(env, other, moved, (ours, theirs)))
    return found


def not_reproduced(results: Sequence[Result]) -> list[str]:
    """What the papers claim that does not hold on these environments, or in part; a bullet each."""
    return [*_of_no_help(results), *_not_gentler(results)]


def _of_no_help(results: Sequence[Result]) -> list[str]:
    """Environments on which no method with enough seeds is better in enough of them."""
    found = []
    for env, methods in by_env(results).items():
        judged = _judged(methods)
        if judged and not any(improved(seeds) >= ENOUGH for seeds in judged.values()):
            gains = ", ".join(f"`{name}` {gain_in_words(seeds)}" for name, seeds in judged.items())
            found.append(
                f"- That an adapter makes the frozen policy succeed more often does not hold on `{env}`: {gains}. Why "
                "is not shown; what was looked at is said in `benchmarks/gym/known.py`."
            )
    return found


def _not_gentler(results: Sequence[Result]) -> list[str]:
    counts = Counter(one.word for one in gentler(results))
    if not counts.keys() - {"holds"}:
        return []
    came = ", ".join(
        f"{word} in {counts[word]}" for word in ("holds", "holds in part", "does not hold") if counts[word]
    )
    return [
        f"- {TABLE_II}, on environments of others, in {counts.total()} "
        f"comparison{'s' if counts.total() > 1 else ''} with Policy Decorator: {came} "
        f"([each of them](#{ANCHOR}))."
    ]


def _motion(results: Sequence[Result]) -> list[str]:
    """ZPRL's table II on these environments: each comparison, and what may be why."""
    compared = gentler(results)
    if not compared:
        return []
    parts = [
        "### How gently ZPRL moves\n",
        f"{TABLE_II}: as commanded while both explore, on starts on which both succeed; +-: half of a 95 % interval "
        "over seeds. It holds where both are lower, by at least half as much as there.\n",
        *(f"- {one}." for one in compared),
        "",
    ]
    if any(one.word != "holds" for one in compared):
        parts.append(_why_not(results) + "\n")
    return parts


def _why_not(results: Sequence[Result]) -> str:
    """What is known of it, with the figures of the table that bear on it."""
    ranges = {}
    for kind, names in (("per step", PER_STEP), ("constant", ("policy-decorator",))):
        shares = [
            [moved.mean(part) or 0.0 for part in PARTS]
            for methods in by_env(results).values()
            for name in names
            if name in methods and (moved := moves(methods[name], methods[name], "base_motion")).starts
        ]
        if shares:
            low, high = np.min(shares, axis=0), np.max(shares, axis=0)
            ranges[kind] = [f"{low[i]:.2f} to {high[i]:.2f}" for i in range(len(PARTS))]
    words = (
        "Why it need not be so here: the paper's task has positions for actions, and what jitters in a position is "
        "velocity, and more so acceleration. An action of Meta-World's is a displacement, and one of the maze's a "
        "force: what jitters is acceleration, beside a velocity that the way to the goal asks for. (The paper's "
        "velocity is the first difference of what the policy puts out. Taken of these actions, whatever they mean, "
        "that is what is called acceleration here.)"
    )
    if "per step" in ranges:
        velocity, acceleration = ranges["per step"]
        words += f" In the table above a residual per step has {velocity} of the frozen policy's velocity, and "
        words += f"{acceleration} of its acceleration."
    if "constant" in ranges:
        velocity, acceleration = ranges["constant"]
        words += f" One that is constant over a chunk, which is this product's default, has {velocity} and "
        words += f"{acceleration}: it jitters little, and leaves little to be gentler than."
    return words
