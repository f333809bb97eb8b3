"""`robot-rl runs`: a table of runs, and the adapter versions that learnt from labels corrected since."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from robot_rl.compositions.plain_text import plain
from robot_rl.errors import StoreError
from robot_rl.store.corrections import Correction
from robot_rl.store.overview import Overview, overview, runs_in

PARTS = 3


def show_runs(folder: Path, console: Console) -> bool:
    """The runs in `folder`, or the one that it is; one that cannot be read is named, and costs no other its row.

    True if all could be read.
    """
    table = Table(
        Column("run", overflow="fold"),
        Column("task\nmethod", overflow="fold"),
        *(Column(title, no_wrap=True) for title in ("episodes", "success\nby thirds", "adapter", "size")),
    )  # 80 columns are enough to read a run's name
    found, said, failed = runs_in(folder), [], 0
    for path in found:
        try:
            seen = overview(path)
        except StoreError as error:
            failed += 1
            said.append(f"{path.name} cannot be read: {error}")
            continue
        table.add_row(*(Text("\n").join(map(plain, lines)) for lines in _row(path.name, seen)))
        said += [f"{path.name}: {_words(correction)}" for correction in seen.corrections]
        if seen.labels_gone:
            said.append(f"{path.name}: its label log is gone: put {path / 'labels.sqlite'} back")
        if seen.unreadable:
            said.append(f"{path.name}: {seen.unreadable} episodes cannot be read; see robot-rl verify {path}")
    if not found:
        raise StoreError(f"{folder} holds no run: give the directory in which runs are, or a run's own")
    console.print(table)
    for words in said:
        console.print(plain(words), soft_wrap=True)
    return not failed


def _row(name: str, seen: Overview) -> list[list[str]]:
    """The lines of each cell."""
    episodes = [f"{seen.complete}", "labels gone" if seen.labels_gone else f"{len(seen.outcomes)} labelled"]
    episodes += [f"{seen.discarded} discarded"] if seen.discarded else []
    episodes += [f"{seen.incomplete} incomplete"] if seen.incomplete else []
    version = [f"v{seen.newest_version}"] if seen.newest_version else []
    size = f"{seen.bytes / 1e6:.1f} MB"
    return [[name], [seen.info.task, seen.info.method], episodes, thirds(seen.outcomes), version, [size]]


def thirds(outcomes: Sequence[bool]) -> list[str]:
    """Success rates of the first, second and last third of the labelled episodes; fewer parts for few of them."""
    parts = min(PARTS, len(outcomes))
    edges = [round(part * len(outcomes) / max(1, parts)) for part in range(parts + 1)]
    return [f"{sum(outcomes[low:high]) / (high - low):.2f}" for low, high in pairwise(edges)]


def _words(correction: Correction) -> str:
    new = f"{correction.new.value} by {correction.author}"
    return (
        f"episode {correction.episode} is {new} now; adapters {ranges(correction.versions)} were trained on "
        f"{correction.old.value}, and later ones go on from them"
    )


def ranges(versions: Sequence[int]) -> str:
    """v3 to v5, v8: ascending numbers, neighbours taken together."""
    groups: list[list[int]] = []
    for version in versions:
        if groups and version == groups[-1][-1] + 1:
            groups[-1].append(version)
        else:
            groups.append([version])
    return ", ".join(f"v{group[0]}" if len(group) == 1 else f"v{group[0]} to v{group[-1]}" for group in groups)
