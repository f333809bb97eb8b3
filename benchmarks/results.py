"""`python -m benchmarks.results`: docs/results.md and its pictures, from what is on record and from nothing else.

The studies' data (`benchmarks/records/studies`), the cells of the lid-opening benchmark (`benchmarks/records`) and
those of the diversity and of the transfer (folders there) are read, judged, tabulated and drawn anew; nothing is run. A
record that was made by other code than is here now still counts, and is marked.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import cells, diversity, ending, provenance, readme, transfer, tuning
from benchmarks.cells import Cell
from benchmarks.curves import draw
from benchmarks.digest import DIGITS, ROOT, ceilings_digest
from benchmarks.gym import page as gym
from benchmarks.studies import study as studies
from benchmarks.studies.catalogue import NAMES, study
from benchmarks.studies.study import Study, Verdict
from benchmarks.summary import summarise, table
from benchmarks.verdicts import sentences
from robot_rl.errors import ConfigError
from robot_rl.task_files import load_task, task_names

HEAD = """# Results

Made by `python -m benchmarks.results` from what is on record in `benchmarks/records/`, and by nothing else: to change
a figure here, run what it comes of with `--record` and then that command. `+-` is half of a 95 % interval over seeds
(Student's t).
"""
HOW_TO_READ = """`python -m benchmarks.lid_opening --all-methods`: a run of so many episodes a seed, then the newest
adapter on starts that were never trained on. What other code or settings than these have made is named below its table.

- *95 % interval*: of the mean, at each end the wider of two: Student's t over the seeds, and Wilson's over all their
  trials. The frozen policy's, which does not depend on a seed, is Wilson's alone.
- *entropy*: how varied an adapter's chunks of actions are in one state while it explores, by the distance to nearest
  neighbours (LP-DS paper, appendix C); higher is more varied.
- *ceiling*: what a controller made by hand reaches, on as many other starts, that knows the true state of the world,
  may change no more than the method may, and plans no further than one chunk, so that a method may lie above it.
  *blind*: it chooses before the policy's noise is drawn, as the method's actor does; beside it one that saw the noise.
"""
CELL = re.compile(rf"(?P<task>\w+)-(?P<method>[\w-]+)-(?P<seed>\d+)-(?P<episodes>\d+)x(?P<trials>\d+)-\w{{{DIGITS}}}")


def main(argv: Sequence[str] | None = None) -> int:
    """Write page and pictures, and the README's table of results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="(default: docs/)")
    parser.add_argument("--readme", type=Path, help="whose table is made too (default: the README.md beside docs/)")
    arguments = parser.parse_args(argv)
    if arguments.readme and not arguments.readme.is_file():
        raise ConfigError(f"--readme {arguments.readme}: expected a README.md that is there")
    ending.usable(arguments.out)
    page = arguments.out / "results.md"
    sections = [part(arguments.out) for part in (_studies, _lid_opening, _diversity, _transfer)]
    sections.append(gym.section(arguments.out / "images", markdown))
    text = "\n".join([HEAD, *(line for section in sections for line in section)])
    page.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(page)
    if of_the_project := arguments.readme or (ROOT / "README.md" if arguments.out == ROOT / "docs" else None):
        readme.put(of_the_project, readme.section(table_summary()))
    return 0


def _studies(out: Path) -> list[str]:
    """What the papers claim, one section a study, and before them what did not reproduce."""
    found = [(one, *read) for one in map(study, NAMES) if (read := _study_record(one))]
    failed = [
        f"- {one.title} (`{one.name}`), {verdict.word}: {verdict.claim}. Measured: {verdict.measured}; "
        f"{verdict.because}."
        for one, data, _ in found
        for verdict in one.judge(one.figures(data))
        if not verdict.holds
    ]
    parts = [
        "## The papers' own points\n",
        "Small problems that take minutes, with the product's own learner and adapters: "
        "`python -m benchmarks.studies NAME`. What each is, and where it departs from the paper's, is said in its file "
        "in `benchmarks/studies/`.\n",
    ]
    if failed := [*failed, *gym.not_reproduced(gym.recorded())]:
        parts += ["**What did not reproduce, or in part, and why**\n", *failed, ""]
    for one, data, present in found:
        picture = out / "images" / f"study_{one.name}.png"
        one.draw(data, picture)
        figures = one.figures(data)
        parts += [f"### {one.title}: `{one.name}`\n", f"![{one.title}](images/{picture.name})\n"]
        parts += [_claim(verdict) for verdict in one.judge(figures)]
        others = "" if present else " They were made by other code than this."
        parts += [f"\n<details><summary>Figures, over {len(data['seeds'])} seeds.{others}</summary>\n"]
        parts += [*_table_of(figures), "\n</details>\n"]
    return parts


def _study_record(one: Study) -> tuple[dict[str, Any], bool] | None:
    """The data on record, and whether the code that is here made them. Raises `ConfigError` for another form of it."""
    data = provenance.on_record(studies.RECORDS, one.name, one.record().stem, ("seeds",))
    if data is None:
        return None
    studies.require_form(one, data, studies.RECORDS / one.name)
    return data, one.record().exists()


def _claim(verdict: Verdict) -> str:
    return (
        f"- The paper claims {verdict.claim}. Measured: {verdict.measured}. **It {verdict.word}** here, because "
        f"{verdict.because}."
    )


def _table_of(figures: Mapping[str, Any]) -> list[str]:
    """A Markdown table with a row for each figure that has a spread."""
    rows = ["| figure | mean | +- | lowest to highest seed |", "| --- | --- | --- | --- |"]
    for key in figures:
        if key.endswith("_mean"):
            name = key.removesuffix("_mean")
            mean, half, low, high = (figures[f"{name}_{part}"] for part in ("mean", "half_width_95", "min", "max"))
            rows.append(f"| {name.replace('_', ' ')} | {mean:.3g} | {half:.2g} | {low:.3g} to {high:.3g} |")
    return rows


def recorded_cells() -> dict[str, dict[Cell, dict[str, Any]]]:
    """Task -> its cells on record of its protocol's seeds, in the order of methods in its file."""
    found: dict[str, dict[Cell, dict[str, Any]]] = {}
    for task in task_names():
        config = load_task(task)
        methods = {name.replace(":", "-"): name for name in config.methods}
        matches = [CELL.fullmatch(path.stem) for path in sorted(cells.RECORDS.glob(f"{task}-*.json"))]
        rows = {
            Cell(task, methods[m["method"]], int(m["seed"]), int(m["episodes"]), int(m["trials"]))
            for m in matches
            if m and m["task"] == task and m["method"] in methods and int(m["seed"]) in config.protocol.seeds
        }
        order = list(methods.values())
        ordered = sorted(rows, key=lambda cell: (order.index(cell.method), cell.seed))
        if ordered:
            found[task] = {cell: result for cell in ordered if (result := _cell_record(cell))}
    return found


def _cell_record(cell: Cell) -> dict[str, Any] | None:
    """Raises `ConfigError` for one that says that it is another's."""
    result = provenance.on_record(cells.RECORDS, cell.kind, cell.name, (*cell.said, *cells.FIGURES))
    if result and {name: result[name] for name in cell.said} != cell.said:
        raise ConfigError(f"{cells.RECORDS}: the record of {cell.kind} is not of {cell.said}; remove it")
    return result


def _seeds_of(those: Iterable[Cell]) -> str:
    seeds: dict[str, list[str]] = {}
    for cell in those:
        seeds.setdefault(cell.method, []).append(str(cell.seed))
    return "; ".join(f"`{method}`, seeds {' '.join(named)}" for method, named in seeds.items())


def _not_run(task: str, found: Iterable[Cell]) -> str:
    """Which seeds of the task's methods are on record for no code at all; empty: none."""
    there = {(cell.method, cell.seed) for cell in found}
    config = load_task(task)
    lacking = {m: [str(s) for s in config.protocol.seeds if (m, s) not in there] for m in config.methods}
    named = "; ".join(f"`{method}`, seeds {' '.join(seeds)}" for method, seeds in lacking.items() if seeds)
    return f"Not run yet: {named}." if named else ""


def _tried(task: str) -> str:
    """How many runs each method's settings were chosen by."""
    runs = Counter(one["method"] for one in tuning.recorded() if one["task"] == task)
    counts = ", ".join(f"`{method}` {runs[method]}" for method in load_task(task).methods)
    return (
        f"Runs on other seeds by which settings were chosen (`benchmarks/tuning.jsonl`), not alike for all: {counts}."
    )


def table_summary() -> dict[str, Any]:
    """Of all cells on record with their tasks' ceilings."""
    found: dict[str, Any] = {}
    for task, results in recorded_cells().items():
        found |= _summary(task, results)[0]
    return found


def _summary(task: str, results: Mapping[Cell, Mapping[str, Any]]) -> tuple[dict[str, Any], bool, float | None]:
    """Of a task's cells; whether the code that is here measured its ceilings; the frozen policy's success there."""
    report, present = _ceilings(task)
    ceilings = {task: cells.ceilings_in(report)} if report else None
    frozen = report["frozen_policy"]["with_fault_random_noise"]["success"] if report else None
    return summarise(results, ceilings), present, frozen


def _lid_opening(out: Path) -> list[str]:
    """Tables and curves of the benchmark's tasks."""
    parts = ["## Opening the lid\n", HOW_TO_READ]
    for task, results in recorded_cells().items():
        summary, present, frozen = _summary(task, results)
        episodes, trials = summary[f"{task}_episodes"], summary[f"{task}_trials_per_seed"]
        picture = out / "images" / f"results_{task}.png"
        draw(results, summary, picture)
        lines = markdown(table(results, summary))
        parts += [f"### `{task}`: {episodes} episodes, {trials} trials a seed\n", f"![{task}](images/{picture.name})\n"]
        said = sentences(task, list(dict.fromkeys(cell.method for cell in results)), summary)
        if frozen is not None:
            said.append(f"On the starts of the ceilings the frozen policy has {frozen:.2f}.")
        said += [] if present else ["The ceilings were measured otherwise than they would be now, and not again since."]
        said += [_tried(task), _not_run(task, results)]
        equal, other = provenance.apart(results, cells.RECORDS, lambda cell: (cell.task, cell.method))
        parts += [*lines, "", *(f"- {words}" for words in said if words), ""]
        parts += provenance.words(_seeds_of(equal), _seeds_of(other))
    return parts


def _diversity(out: Path) -> list[str]:
    """What is left of the frozen policy's variety where LP-DS and DSRL succeed alike."""
    known = recorded_cells()
    found, judged = [], []
    for task, methods in diversity.recorded().items():
        wanted = [diversity.cell_of(task, diversity.DIVERSE, seed) for seed in load_task(task).protocol.seeds]
        ends = {cell.seed: known[task][cell] for cell in wanted if cell in known.get(task, {})}
        for method, paths in methods.items():
            if common := [cell for cell in paths if cell.seed in ends]:
                found.append(diversity.alike(task, method, ends, {cell.seed: paths[cell] for cell in common}))
                judged += common
    if not found:
        return []
    equal, other = provenance.apart(judged, diversity.records(), lambda cell: (cell.task, cell.method))
    picture = out / "images" / "results_diversity.png"
    diversity.draw(found, picture)
    return [
        "## Variety at equal success\n",
        "`python -m benchmarks.diversity`: DSRL's adapters on their way, beside LP-DS at its end (its cells above). "
        "Where DSRL's mean success first equals that of LP-DS, interpolated between two of the points, their entropies "
        "are compared, paired by seed, +- half of a 95 % interval, which leaves out how uncertain that point is; "
        "single seeds succeed more or less often there. Success is of adapters as they are deployed, DSRL's being the "
        "mode of its actor; entropy of adapters that explore.\n",
        "![Variety at equal success](images/results_diversity.png)\n",
        *markdown(diversity.table(found)),
        "",
        *(f"- {one}." for one in found),
        "",
        *provenance.words(_runs(equal), _runs(other)),
    ]


def _runs(those: Iterable[Cell]) -> str:
    return ", ".join(f"`{cell.task}` `{cell.method}` seed {cell.seed}" for cell in those)


def _transfer(out: Path) -> list[str]:
    """From the nominal twin to the perturbed one: a table, a picture, and in words what was found, a task each."""
    groups = transfer.of_one_size(transfer.recorded())
    if not groups:
        return []
    frozen, adapted = transfer.PAPER.values()
    parts = [
        "## From the twin to the robot\n",
        "`python -m benchmarks.transfer`: the LP-DS paper's robot experiment, where the adapter of a simulation took a "
        f"frozen policy from {frozen.successes}/{frozen.trials} to {adapted.successes}/{adapted.trials} on a Franka "
        "arm. Here the task's world `real` stands for the robot: a copy of the twin with other masses, friction, gains "
        "and (smaller) height error, and a delay (`robot-rl run --from RUN --world real`). In brackets the "
        "95 % interval (Wilson) over the trials of all seeds; trials of one seed share an adapter, so that intervals "
        "and sign tests say whether these adapters succeed more often, and nothing of how much another training run "
        "would differ: see the seeds.\n",
    ]
    for results in groups.values():
        parts += _transfer_of(results, out)
    return parts


def _transfer_of(results: transfer.Results, out: Path) -> list[str]:
    size = next(iter(results))
    picture = out / "images" / f"results_transfer_{size.of}.png"
    transfer.draw(results, picture)
    equal, other = provenance.apart(results, transfer.records(), lambda cell: (cell.nominal.task, cell.nominal.method))
    task = size.nominal.task
    methods = [method for method in transfer.METHODS if method in load_task(task).methods]
    wanted = [cell for cell in transfer.cells_of(task, methods, None, False) if cell.of == size.of]
    missing = [cell for cell in wanted if cell not in results]
    return [
        f"`{task}`: {2 * size.columns} places, {size.repeats} trials each; per seed {size.nominal.episodes} episodes "
        f"in the nominal twin, then {size.more} more in world `real`.\n",
        f"![From the twin to the robot, {task}](images/{picture.name})\n",
        *markdown(transfer.table(results)),
        "",
        *(f"- {words}" for words in transfer.sentences(results)),
        "",
        *provenance.words(_named(equal), _named(other)),
        *([f"Fixed beforehand too, and not run yet: {_named(missing)}.\n"] if missing else []),
    ]


def _named(those: Iterable[transfer.TransferCell]) -> str:
    return ", ".join(f"`{cell.nominal.method}` seed {cell.nominal.seed}" for cell in those)


def markdown(shown: Table) -> list[str]:
    """A table's lines, after its title as a paragraph."""
    title = [f"{shown.title[:1].upper()}{shown.title[1:]}.\n"] if isinstance(shown.title, str) else []
    shown.title, shown.box = None, box.MARKDOWN
    text = io.StringIO()
    Console(width=400, file=text, color_system=None).print(shown)
    return title + [re.sub(r" {2,}", " ", line.strip()) for line in text.getvalue().splitlines() if line.strip()]


def _ceilings(task: str) -> tuple[dict[str, Any], bool]:
    """The report on record, empty if there is none; and whether it is such as would be measured now."""
    kind = f"{task}-ceilings"
    present = cells.RECORDS / f"{kind}-{cells.ceiling_trials(task)}-{ceilings_digest(task)}.json"
    records = [present] if present.exists() else sorted(cells.RECORDS.glob(f"{kind}-*-{'?' * DIGITS}.json"))
    if not records:
        return {}, True
    return provenance.read_record(records[-1], ("interfaces", "frozen_policy")), present.exists()


if __name__ == "__main__":
    sys.exit(ending.in_words(main))
