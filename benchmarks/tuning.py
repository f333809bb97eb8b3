"""`python -m benchmarks.tuning METHOD [--set NAME=VALUE ...]`: settings of a method tried on seeds that no table shows.

One cell (`benchmarks.cells`) for each tuning seed of the task's protocol, trained and judged as those of the table are,
under the entry's settings with those given over them. What was tried is on record in `benchmarks/tuning.jsonl`, each
line with the digest of the code that it ran on, so that anyone can count what each method's tuning was allowed. What is
on record is not run again, whatever the code was: take its line out for that. The last line is one of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks import ending
from benchmarks.arguments import count
from benchmarks.cells import Cell, run_cell
from benchmarks.digest import ROOT, cell_digest
from robot_rl.compositions.plan import checkpoint_path
from robot_rl.errors import ConfigError
from robot_rl.task_files import load_task, task_path
from robot_rl.types import canonical_hash

RECORD = ROOT / "benchmarks" / "tuning.jsonl"
FIGURES = ("success", "base_success", "updates", "training_seconds")


def entry(task: str, method: str) -> dict[str, Any]:
    """The settings of an entry of a task file, as they are written there. Raises `ConfigError`."""
    load_task(task).method(method)
    settings: dict[str, Any] = yaml.safe_load(task_path(task).read_text(encoding="utf-8"))["methods"][method]
    return settings


def tried_task(task: str, method: str, settings: Mapping[str, Any], folder: Path) -> Path:
    """A task file in `folder`: `task` with `settings` as its only entry. Raises `ConfigError`."""
    source = task_path(task)
    config = load_task(task)
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    content["methods"] = {method: dict(settings)}
    content["policy"]["checkpoint"] = str(checkpoint_path(config, source).resolve())
    path = folder / canonical_hash(settings)[:12] / f"{config.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    load_task(path)
    return path


def recorded() -> list[dict[str, Any]]:
    """What was tried, oldest first."""
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


def try_one(task: str, method: str, settings: Mapping[str, Any], tried: Path, seed: int, out: Path) -> dict[str, Any]:
    """One training run of `settings`, in the file `tried`, and its evaluation; from the record if it is there."""
    what = {"task": task, "method": method, "settings": dict(settings), "seed": seed}
    for line in recorded():
        if {name: line[name] for name in what} == what:
            return line
    protocol = load_task(task).protocol
    digest = cell_digest(str(tried), method)
    found = run_cell(Cell(str(tried), method, seed, protocol.episodes, protocol.trials), out)
    line = {**what, **{name: found[name] for name in FIGURES}, "trials": protocol.trials}
    line |= {"episodes": protocol.episodes, "digest": digest}
    line["log"] = {name: float(f"{value:.4g}") for name, value in found["log"].items()}
    with RECORD.open("a", encoding="utf-8") as record:
        record.write(json.dumps(line, sort_keys=True) + "\n")
    return line


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as YAML has it."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, yaml.safe_load(value)


def difference(tried: Mapping[str, Any], written: Mapping[str, Any]) -> str:
    """What was tried otherwise than it is written; "-" for the default in the place of what is written."""
    names = [*tried, *(name for name in written if name not in tried)]
    return ", ".join(f"{name} {tried.get(name, '-')}" for name in names if tried.get(name) != written.get(name))


def table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each of the settings that were tried, in the order of the record."""
    shown = Table("task", "method", "other than the task file", "success by seed", "mean", title="tuning seeds")
    rows: dict[tuple[str, str, str], dict[int, float]] = {}
    for line in lines:
        words = difference(line["settings"], entry(line["task"], line["method"]))
        rows.setdefault((line["task"], line["method"], words), {})[line["seed"]] = line["success"]
    for row, by_seed in rows.items():
        seeds = " ".join(f"{seed}: {success:.2f}" for seed, success in sorted(by_seed.items()))
        shown.add_row(*row, seeds, f"{statistics.fmean(by_seed.values()):.2f}")
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    """Try, record, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("method", nargs="?", help="an entry of the task file (default: only print the record)")
    parser.add_argument("--task", default="lid_opening", help="(default: %(default)s)")
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--seed", type=int, action="append", help="(default: the protocol's tuning seeds)")
    parser.add_argument("--jobs", type=count, default=2, help="runs at a time, a core each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/tuning"), help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    console = Console(width=160)
    if arguments.method is None:
        console.print(table(recorded()))
        return 0
    allowed = load_task(arguments.task).protocol.tuning_seeds
    seeds = arguments.seed or list(allowed)
    if not set(seeds) <= set(allowed):
        raise ConfigError(f"expected tuning seeds, of {list(allowed)}, got {seeds}: the table's seeds choose nothing")
    settings = {**entry(arguments.task, arguments.method), **dict(arguments.settings)}
    task, method, out = arguments.task, arguments.method, arguments.out
    ending.usable(out)
    tried = tried_task(task, method, settings, out / "tasks")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        lines = list(pool.map(lambda seed: try_one(task, method, settings, tried, seed, out), seeds))
    console.print(table(lines))
    mean = statistics.fmean(line["success"] for line in lines)
    print(json.dumps({"seeds": seeds, "success": [line["success"] for line in lines], "mean_success": mean}))
    return 0


if __name__ == "__main__":
    sys.exit(ending.in_words(main))
