"""What every study is: runs that give data, figures made of the data, a verdict on what the paper claims, a picture.

The data is kept (`benchmarks/records/studies`), one JSON file a study, under the digest of the code that computed it.
Figures, verdicts and pictures are made from the data at any time: how a study is judged and drawn is no part of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.digest import ROOT, study_digest
from benchmarks.intervals import half_width
from benchmarks.provenance import earlier
from robot_rl.errors import ConfigError
from robot_rl.store.files import atomic_write

RECORDS = ROOT / "benchmarks" / "records" / "studies"
Data = Mapping[str, Any]
"""What a study's runs gave, as JSON."""


@dataclass(frozen=True)
class Verdict:
    """On one claim of the paper."""

    claim: str
    """What the paper says, with the figure, table or section."""
    measured: str
    holds: bool
    because: str
    in_part: bool = False
    """What does not hold whole: its sign is there, or one of its halves, and `because` says which."""

    @property
    def word(self) -> str:
        """As a sentence has it."""
        return "holds" if self.holds else "holds in part" if self.in_part else "does not hold"

    def __str__(self) -> str:
        return f"the paper claims {self.claim}; measured: {self.measured}; {self.word}, because {self.because}"


@dataclass(frozen=True)
class Study:
    """One paper's point."""

    name: str
    title: str
    """The paper, and which of its figures or tables."""
    run: Callable[[Sequence[int], bool], Data]
    """(seeds, quick) -> data; quick: just enough to see that it runs, in about a second."""
    figures: Callable[[Data], dict[str, Any]]
    """Snake_case name -> number, or one number a seed; what the verdicts stand on."""
    judge: Callable[[Mapping[str, Any]], list[Verdict]]
    """Of the figures."""
    draw: Callable[[Data, Path], None]
    """The picture, a PNG."""

    @property
    def digest(self) -> str:
        """Of all that computes the data."""
        return study_digest(self.name)

    def record(self) -> Path:
        """Where the data of this very code is, if it is."""
        return RECORDS / f"{self.name}-{self.digest}.json"

    def put_on_record(self, data: Data, record: Path) -> None:
        """As `record`, the path when the runs began, in the place of what other code gave."""
        RECORDS.mkdir(parents=True, exist_ok=True)
        keep(data, record)
        for superseded in earlier(RECORDS, self.name):
            if superseded != record:
                superseded.unlink(missing_ok=True)

    def last_line(self, data: Data) -> dict[str, Any]:
        """Figures and verdicts as JSON."""
        figures = self.figures(data)
        verdicts = self.judge(figures)
        said: dict[str, Any] = {}
        for number, verdict in enumerate(verdicts, 1):
            said |= {f"claim_{number}_holds": verdict.holds, f"claim_{number}": verdict.word}
        return {"study": self.name, "seeds": list(data["seeds"]), **rounded(figures), **said}


def keep(data: Data, path: Path) -> None:
    """As JSON, whole or not at all."""
    atomic_write(path, (json.dumps(rounded(data), sort_keys=True, separators=(",", ":")) + "\n").encode())


def require_form(one: Study, data: Data, path: Path) -> None:
    """Raises `ConfigError` for data of another form than the study measures now, as an older code's may be."""
    try:
        one.figures(data)
    except KeyError as error:
        raise ConfigError(
            f"{path}: expected what the study measures now, and {error} is not there; remove it, and run "
            f"`python -m benchmarks.studies {one.name} --record`"
        ) from error


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean over seeds, the half width of its 95 % interval (Student's t), and the worst and best seed."""
    known = np.array(values, np.float64)
    half = half_width(known.tolist()) or 0.0
    return {"mean": float(known.mean()), "half_width_95": half, "min": float(known.min()), "max": float(known.max())}


def figures_of(name: str, values: Sequence[float]) -> dict[str, Any]:
    """The spread of one figure by seed, and the seeds themselves, under `name`."""
    return {f"{name}_{part}": value for part, value in spread(values).items()} | {f"{name}_seeds": list(values)}


def words(figures: Mapping[str, Any], name: str, digits: int = 2) -> str:
    """Mean and interval of a figure in words."""
    return f"{figures[f'{name}_mean']:.{digits}f} +- {figures[f'{name}_half_width_95']:.{digits}f}"


def reached(figures: Mapping[str, Any], name: str, episodes: int) -> str:
    """After how many of `episodes` each seed came to a level, in words; what it never came to has no mean."""
    those = [round(value) for value in figures[f"{name}_seeds"]]
    done = sorted(value for value in those if value <= episodes)
    if len(done) == len(those):
        return words(figures, name, 0)
    if not done:
        return f"never in {episodes}"
    return f"in {len(done)} of {len(those)} seeds, after {', '.join(map(str, done))}"


def rounded(value: Any) -> Any:
    """JSON with floats of five significant digits: more says nothing, and fills the repository."""
    if isinstance(value, Mapping):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.5g}")
    return int(value) if isinstance(value, np.integer) else value
