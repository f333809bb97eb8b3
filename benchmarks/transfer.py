"""`python -m benchmarks.transfer`: what an adapter learnt in the twin is worth on the robot that the twin is not.

The protocol of the LP-DS paper's robot (appendix G: 18 of 40 trials by the frozen policy, 33 of 40 with the adapter of
the simulation): 2 x 4 places, five trials at each. Here the task's world "real" stands for the robot, a perturbed copy
of the twin. For each method and seed a cell:

    frozen      the policy alone, in world real
    unchanged   the adapter of 100 episodes in the nominal twin, as it is, in world real
    continued   the same after 20 more episodes in world real (`robot-rl run --from RUN --world real`)
    twin        that adapter, and the policy, at the same places of the nominal twin: what there was to be transferred

The nominal run is the cell of `benchmarks.lid_opening` of the same name, and taken from there if it was run in the same
folder. `SEEDS` are the first of the task's protocol, fixed before anything was run; nothing is chosen. A cell that is
done is not done again, and one that was interrupted goes on where it was; `--record` keeps it in
`benchmarks/records/transfer/`. `--quick`: a few episodes and places, to see that it runs.
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
from rich.table import Table

from benchmarks import cells, ending
from benchmarks.cells import Cell, begin_or_resume, learning_of, robot_rl, train
from benchmarks.digest import transfer_digest
from benchmarks.provenance import on_record, read_record, require_kind
from benchmarks.summary import method_key
from robot_rl.compositions.results import Rate, write_json_results
from robot_rl.task_files import load_task

TASK = "lid_opening"
METHODS = ("lp-ds", "usr")
SEEDS = (0, 1, 2)
MORE = 20
"""Episodes in world real."""
COLUMNS, REPEATS = 4, 5
CONDITIONS = {
    "frozen": "frozen policy",
    "unchanged": "adapter, unchanged",
    "continued": "after more episodes there",
    "twin_frozen": "frozen policy, nominal twin",
    "twin": "adapter, nominal twin",
}
"""Name of its outcomes in a cell -> in words; the first three are in world real."""
IDENTITY = ("task", "method", "seed", "episodes", "more", "places", "repeats")
FIGURES = (*CONDITIONS, *IDENTITY, "curve")
"""What a cell has."""
LEVEL = 0.05
"""Of a sign test, below which two conditions are told apart."""
PAPER = {"frozen": Rate(18, 40), "unchanged": Rate(33, 40)}
"""LP-DS on a Franka arm, pick and place."""


@dataclass(frozen=True)
class TransferCell:
    """What is trained in the twin, and then taken to world real."""

    nominal: Cell
    more: int = MORE
    columns: int = COLUMNS
    repeats: int = REPEATS

    @property
    def kind(self) -> str:
        """Its name without what decides it."""
        task, size = self._task_and_size
        return f"{task}-{method_key(self.nominal.method)}-{self.nominal.seed}-{size}"

    @property
    def of(self) -> str:
        """Task and size: only cells that share it are tabulated together."""
        return "-".join(self._task_and_size)

    @property
    def _task_and_size(self) -> tuple[str, str]:
        size = f"{self.nominal.episodes}x{self.more}x{2 * self.columns}x{self.repeats}"
        return Path(self.nominal.task).stem, size

    @property
    def name(self) -> str:
        """Of its folder and of its record."""
        return f"{self.kind}-{transfer_digest(self.nominal.task, self.nominal.method)}"


Results = Mapping[TransferCell, Mapping[str, Any]]


def records() -> Path:
    """Where done cells are kept."""
    return cells.RECORDS / "transfer"


def run_transfer(cell: TransferCell, out: Path, *, record: bool = False) -> dict[str, Any]:
    """Train, evaluate, go on in world real, evaluate; the cell's JSON, put on `record` if asked."""
    folder = out / f"transfer-{cell.name}"
    said = {"method": cell.nominal.method, "seed": cell.nominal.seed, "more": cell.more, "repeats": cell.repeats}
    fits = cells.fits_if(said, FIGURES)
    return cells.once(
        folder / "cell.json", cell.kind, cell.name, lambda: _transfer(cell, folder, out), record, records(), fits
    )


def _transfer(cell: TransferCell, folder: Path, out: Path) -> dict[str, Any]:
    nominal, continued, seed = out / cell.nominal.name, folder / "run", str(cell.nominal.seed)
    train(cell.nominal, nominal)
    unchanged = _places(cell, nominal, "real")
    total = ["--episodes", str(cell.more)]
    begin = ["run", "--from", str(nominal), "--world", "real", "--seed", seed, *total]
    begin_or_resume(continued, begin, ["run", "--resume", str(continued), *total])
    after, twin = _places(cell, continued, "real"), _places(cell, nominal, "twin")
    return {
        "task": unchanged["task"],
        "method": cell.nominal.method,
        "seed": cell.nominal.seed,
        "episodes": cell.nominal.episodes,
        "more": cell.more,
        "places": unchanged["places"],
        "repeats": cell.repeats,
        "frozen": unchanged["base"],
        "unchanged": unchanged["adapter"],
        "continued": after["adapter"],
        "twin_frozen": twin["base"],
        "twin": twin["adapter"],
        **learning_of(continued),
    }


def _places(cell: TransferCell, run: Path, world: str) -> dict[str, Any]:
    grid = ["--positions", "--columns", str(cell.columns), "--repeats", str(cell.repeats)]
    said = robot_rl(["eval", str(run), *grid, "--world", world, "--seed", str(cell.nominal.seed)], run)
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


def cells_of(task: str, methods: Sequence[str], seeds: Sequence[int] | None, quick: bool) -> list[TransferCell]:
    """Method by method. Raises `ConfigError` for a method that the task has no settings for."""
    config = load_task(task)
    for method in methods:
        config.method(method)
    protocol = config.protocol
    if quick:
        episodes = {method: config.method(method).warmup_episodes + 2 for method in methods}
        seed = protocol.tuning_seeds[0]
        return [TransferCell(Cell(task, m, seed, episodes[m], protocol.trials), 2, 1, 1) for m in methods]
    chosen = SEEDS if seeds is None else seeds
    return [TransferCell(Cell(task, m, seed, protocol.episodes, protocol.trials)) for m in methods for seed in chosen]


def by_method(results: Results) -> dict[str, list[Mapping[str, Any]]]:
    """Method -> its cells, one a seed."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell, result in results.items():
        found.setdefault(cell.nominal.method, []).append(result)
    return found


def pooled(those: Sequence[Mapping[str, Any]], condition: str) -> Rate:
    """Over the trials of all seeds."""
    outcomes = [outcome for result in those for outcome in result[condition]]
    return Rate(sum(outcomes), len(outcomes))


@dataclass(frozen=True)
class Difference:
    """Two conditions, trial by trial: they begin alike."""

    gained: int
    """Trials that failed before and succeed now."""
    lost: int
    p: float
    """Of a sign test (exact, two-sided) on those that differ."""

    def __str__(self) -> str:
        verdict = "better" if self.gained > self.lost else "worse"
        if self.p >= LEVEL:
            verdict = "no different, as far as can be told"
        return f"{verdict} ({self.gained} trials gained, {self.lost} lost; sign test p = {self.p:.2g})"


def difference(those: Sequence[Mapping[str, Any]], before: str, now: str) -> Difference:
    """Over the trials of all seeds."""
    from scipy.stats import binomtest

    pairs = [pair for one in those for pair in zip(one[before], one[now], strict=True)]
    gained, lost = pairs.count((0, 1)), pairs.count((1, 0))
    return Difference(gained, lost, float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0)


def sentences(results: Results) -> list[str]:
    """What was found, a method each, beside what the paper found."""
    found = []
    for method, those in by_method(results).items():
        counts = [pooled(those, name) for name in ("frozen", "unchanged", "continued")]
        chain = " -> ".join(f"{rate.successes}/{rate.trials}" for rate in counts)
        deployed, after = difference(those, "frozen", "unchanged"), difference(those, "unchanged", "continued")
        of = "one seed" if len(those) == 1 else f"{len(those)} seeds"
        found.append(
            f"`{method}`, {of}: {chain}. The adapter of the nominal twin, unchanged, beside the frozen policy: "
            f"{deployed}. "
            f"After {those[0]['more']} episodes there, beside itself unchanged: {after}; by seed, of "
            f"{len(those[0]['frozen'])}: {_by_seed(those)}."
        )
    return found


def _by_seed(those: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{sum(one['unchanged'])} to {sum(one['continued'])}" for one in those)


def recorded() -> dict[TransferCell, dict[str, Any]]:
    """The cells on record of `SEEDS`, by task and method, seed by seed; those of other code too."""
    found = {}
    for path in sorted(records().glob("*.json")):
        one = read_record(path, FIGURES)
        nominal = Cell(one["task"], one["method"], one["seed"], one["episodes"], load_task(one["task"]).protocol.trials)
        cell = TransferCell(nominal, one["more"], len(one["places"]) // 2, one["repeats"])
        require_kind(path, cell.kind)
        if nominal.seed in SEEDS:
            found[cell] = on_record(records(), cell.kind, cell.name, FIGURES) or one
    places = [*METHODS, *sorted({cell.nominal.method for cell in found} - {*METHODS})]
    return {
        cell: found[cell]
        for cell in sorted(found, key=lambda c: (c.nominal.task, places.index(c.nominal.method), c.nominal.seed))
    }


def of_one_size(results: Results) -> dict[str, dict[TransferCell, Mapping[str, Any]]]:
    """`TransferCell.of` -> those cells."""
    found: dict[str, dict[TransferCell, Mapping[str, Any]]] = {}
    for cell, result in results.items():
        found.setdefault(cell.of, {})[cell] = result
    return found


def summarise(results: Results) -> dict[str, Any]:
    """Per method and condition: rate, pooled Wilson interval, each seed's successes; what was gained and lost."""
    summary: dict[str, Any] = {}
    for method, those in by_method(results).items():
        key = method_key(method)
        for condition in CONDITIONS:
            rate = pooled(those, condition)
            summary |= {
                f"{key}_{condition}": rate.rate,
                f"{key}_{condition}_interval": list(rate.interval),
                f"{key}_{condition}_seeds": [sum(one[condition]) for one in those],
            }
        summary |= {f"{key}_seeds": [one["seed"] for one in those], f"{key}_trials": pooled(those, "frozen").trials}
        for before, now in (("frozen", "unchanged"), ("unchanged", "continued"), ("frozen", "continued")):
            found = difference(those, before, now)
            summary[f"{key}_{before}_to_{now}"] = {"gained": found.gained, "lost": found.lost, "p": found.p}
        summary[f"{key}_while_continuing"] = float(np.mean([won for one in those for _, won in one["curve"]]))
    return summary


def table(results: Results) -> Table:
    """A row a method; successes of all seeds together, and in brackets each seed's."""
    shown = Table("method", *CONDITIONS.values())
    for method, those in by_method(results).items():
        each = {name: " ".join(str(sum(one[name])) for one in those) for name in CONDITIONS}
        shown.add_row(method, *(f"{pooled(those, name)}; by seed {each[name]}" for name in CONDITIONS))
    return shown


def draw(results: Results, path: Path) -> None:
    """Rates with their intervals and each seed's, and the places with what succeeded at each, a row a method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    methods = by_method(results)
    figure, panels = pyplot.subplots(
        len(methods), 2, figsize=(12, 3.4 * len(methods)), dpi=130, layout="constrained", squeeze=False,
        width_ratios=(1, 1.25),
    )  # fmt: skip
    for (rates, grid), (method, those) in zip(panels, methods.items(), strict=True):
        _draw_rates(rates, method, those)
        _draw_places(grid, those)
    figure.savefig(path)
    pyplot.close(figure)


COLOURS = {
    "frozen": "#8a9096",
    "unchanged": "#d9a02c",
    "continued": "#2f7f8c",
    "twin_frozen": "#c9cdd1",
    "twin": "#9cc4cb",
}


def _draw_rates(panel: Any, method: str, those: Sequence[Mapping[str, Any]]) -> None:
    for place, condition in enumerate(CONDITIONS):
        rate = pooled(those, condition)
        low, high = rate.interval
        error = [[rate.rate - low], [high - rate.rate]]
        panel.bar(place, rate.rate, width=0.62, color=COLOURS[condition], yerr=error, capsize=4, error_kw={"lw": 1.1})
        each = [np.mean(one[condition]) for one in those]
        spread = place + 0.12 * (np.arange(len(each)) - (len(each) - 1) / 2)
        panel.scatter(spread, each, color="black", s=12, zorder=3, label="a seed" if place == 0 else None)
        if condition in PAPER and method == "lp-ds":
            label = "LP-DS paper's robot" if place == 0 else None
            panel.scatter([place + 0.39], [PAPER[condition].rate], marker="<", color="#b0413e", s=34, label=label)
    words = [words.replace(", ", ",\n").replace(" episodes", "\nepisodes") for words in CONDITIONS.values()]
    panel.set_xticks(range(len(CONDITIONS)), words, fontsize=8)
    panel.axvline(2.55, color="#d0d4d8", lw=1)
    panel.set_yticks(np.linspace(0, 1, 6))
    panel.set(ylim=(0, 1.2), ylabel="success (bar: 95 % Wilson)")
    panel.set_title(f"{method}: world real, and the nominal twin beside it", fontsize=10)
    panel.legend(fontsize=8, loc="upper left", ncols=2, frameon=False)
    panel.spines[["top", "right"]].set_visible(False)


def _draw_places(panel: Any, those: Sequence[Mapping[str, Any]]) -> None:
    """The places as the robot sees them: +y to the left, away from it upwards."""
    places, shown = those[0]["places"], ("frozen", "unchanged", "continued")
    won = {name: np.sum([np.reshape(one[name], (len(places), -1)).sum(1) for one in those], 0) for name in shown}
    trials = len(those) * those[0]["repeats"]
    ys, xs = sorted({place["y"] for place in places}, reverse=True), sorted({place["x"] for place in places})
    shares = np.zeros((len(xs), len(ys)))
    for index, place in enumerate(places):
        row, column = xs.index(place["x"]), ys.index(place["y"])
        shares[row, column] = won["continued"][index] / trials
        words = " \u2192 ".join(f"{won[name][index]}" for name in shown)
        panel.text(column, row, f"{words}\nof {trials}", ha="center", va="center", fontsize=9)
    panel.imshow(shares, origin="lower", cmap="GnBu", vmin=0, vmax=1.6, aspect="auto")
    panel.set_xticks(range(len(ys)), [f"y {y:+.2f} m" for y in ys], fontsize=8)
    panel.set_yticks(range(len(xs)), [f"x {x:.2f} m" for x in xs], fontsize=8)
    panel.set_title("by place, world real: frozen \u2192 unchanged \u2192 continued (its colour)", fontsize=10)
    panel.set_xticks(np.arange(len(ys) + 1) - 0.5, minor=True)
    panel.set_yticks(np.arange(len(xs) + 1) - 0.5, minor=True)
    panel.grid(which="minor", color="white", lw=3)
    panel.tick_params(which="both", length=0)
    panel.spines[:].set_visible(False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table, draw; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--task", default=TASK, help="(default: %(default)s)")
    parser.add_argument("--method", action="append", help=f"(default: {' and '.join(METHODS)})")
    parser.add_argument("--seeds", type=int, nargs="+", help=f"(default: {' '.join(map(str, SEEDS))})")
    parser.add_argument("--quick", "--short", action="store_true", help="a few episodes and places: does it run?")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="(default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="put what is done on record in benchmarks/records/")
    arguments = parser.parse_args(argv)
    if arguments.quick and (arguments.seeds or arguments.record):
        parser.error("--quick: not with --seeds or --record: it is of one tuning seed, and says nothing")
    if arguments.record and (chosen := set(arguments.seeds or ()) - set(SEEDS)):
        parser.error(f"--record: not with seed {min(chosen)}: seeds on record were fixed beforehand, {SEEDS}")
    if any(seed < 0 for seed in arguments.seeds or ()):
        parser.error(f"--seeds: expected 0 or more, got {arguments.seeds}")
    console = Console()
    wanted = cells_of(arguments.task, arguments.method or METHODS, arguments.seeds, arguments.quick)
    ending.usable(arguments.out)
    results = {}
    for cell in wanted:
        results[cell] = run_transfer(cell, arguments.out, record=arguments.record)
        words = ", ".join(f"{name} {sum(results[cell][name])}" for name in CONDITIONS)
        console.print(f"{cell.nominal.method}, seed {cell.nominal.seed}: {words} of {len(results[cell]['frozen'])}")
    summary = summarise(results)
    picture = arguments.out / "transfer.png"
    draw(results, picture)
    write_json_results(arguments.out / "transfer.json", summary)
    return ending.show(console, table(results), "\n".join([*sentences(results), f"the picture is {picture}"]), summary)


if __name__ == "__main__":
    sys.exit(ending.in_words(main))
