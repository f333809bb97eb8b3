"""The README's table of results, from what is on record (`python -m benchmarks.results` puts it there)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.summary import NAMES, key_of
from benchmarks.verdicts import in_short
from robot_rl.errors import ConfigError

BEGIN, END = "<!-- python -m benchmarks.results: begin -->", "<!-- end -->"
PLAIN, STRICT = "lid_opening", "lid_opening_strict"


def section(summary: Mapping[str, Any]) -> list[str]:
    """Markdown: the table, and what it says in short; `summary` is that of both tasks."""
    said = {
        word: in_short(task, [m for m in NAMES if f"{key_of(task, m)}_mean" in summary], summary)
        for word, task in (("Plain", PLAIN), ("Strict", STRICT))
        if f"{task}_base" in summary
    }
    return [*table(summary), "", *(f"- {word}: {words[0].lower()}{words[1:]}" for word, words in said.items() if words)]


def table(summary: Mapping[str, Any]) -> list[str]:
    """Markdown: a row a method, the best on the plain task first."""
    head = ["plain", "interval", "ceiling", "strict", "interval", "ceiling"]
    rows = [["frozen policy", *(cell for task in (PLAIN, STRICT) for cell in _frozen(task, summary))]]
    known = [method for method in NAMES if f"{key_of(PLAIN, method)}_mean" in summary]
    for method in sorted(known, key=lambda method: -summary[f"{key_of(PLAIN, method)}_mean"]):
        rows.append([NAMES[method], *(cell for task in (PLAIN, STRICT) for cell in _cells(task, method, summary))])
    return [f"| {' | '.join(row)} |" for row in (["", *head], ["---"] * (1 + len(head)), *rows)]


def put(readme: Path, lines: list[str]) -> None:
    """`lines` in the place of what stands between the two marks. Raises `ConfigError` where these are not."""
    readme.write_text(placed(readme.read_text(encoding="utf-8"), lines), encoding="utf-8")


def placed(text: str, lines: list[str]) -> str:
    """`text` with `lines` between its marks. Raises `ConfigError` where these are not."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"README.md: expected {BEGIN} and behind it {END}; put them around the table of results")
    return "\n".join([before + begin, *lines, end + after])


def _frozen(task: str, summary: Mapping[str, Any]) -> list[str]:
    if f"{task}_base" not in summary:
        return ["", "", ""]
    return [f"{summary[f'{task}_base']:.2f}", "{:.2f} to {:.2f}".format(*summary[f"{task}_base_interval"]), ""]


def _cells(task: str, method: str, summary: Mapping[str, Any]) -> list[str]:
    key = key_of(task, method)
    if f"{key}_mean" not in summary:
        return ["", "", ""]
    seeds = len(summary[f"{key}_seeds"])
    mean = f"{summary[f'{key}_mean']:.2f}" + ("" if seeds == 5 else f" ({seeds} seeds)")
    ceiling = f"{summary[f'{key}_ceiling']:.2f}" if f"{key}_ceiling" in summary else ""
    return [mean, "{:.2f} to {:.2f}".format(*summary[f"{key}_interval"]), ceiling]
