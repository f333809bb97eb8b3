"""Which code made what is on record: this, an earlier one that this computes alike, or another.

A run is the same bit for bit where code, settings, seed and machine are the same. So where a cell that earlier code
made is made again by this code, and every figure comes out the same, the two compute alike; the record of the new one
says so (`ALIKE`), and the other seeds that the earlier code made stand for this code too. One seed of each method is
enough after a change that should have changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks.digest import DIGITS
from robot_rl.errors import ConfigError

ALIKE, OTHERWISE = "made_alike_by", "made_otherwise_by"
"""In a record: digests of earlier code that gave the same figures, and of such that gave others."""
RATES = frozenset({"success", "base_success", "exploring_success"})
CLOCK = frozenset({"training_seconds"})
"""Figures that differ from run to run."""


class Recorded(Protocol):
    """A cell of any benchmark."""

    @property
    def kind(self) -> str:
        """Its name without what decides it."""
        ...

    @property
    def name(self) -> str:
        """Kind and digest, as this code has it."""
        ...


R = TypeVar("R", bound=Recorded)


def earlier(records: Path, kind: str) -> list[Path]:
    """What is on record of a kind, whatever code made it."""
    return sorted(records.glob(f"{kind}-{'?' * DIGITS}.json"))


def on_record(records: Path, kind: str, name: str, needs: Iterable[str] = ()) -> dict[str, Any] | None:
    """What is on record of a `kind`: by this code (`name`) if there is such, else by another; None: there is nothing.

    Raises `ConfigError` for a damaged file, and for several of other code, as a merge may leave.
    """
    paths = earlier(records, kind)
    if (present := records / f"{name}.json") in paths:
        paths = [present]
    if len(paths) > 1:
        raise ConfigError(
            f"{records}: expected one record of {kind}, got {' and '.join(path.name for path in paths)}; remove all "
            "but the newest"
        )
    return read_record(paths[0], needs) if paths else None


def read_record(path: Path, needs: Iterable[str] = ()) -> dict[str, Any]:
    """What is on record at `path`. Raises `ConfigError` for a damaged file, or one without `needs`, which it names."""
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        require_figures(record, needs)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    return record


def damaged(path: Path, why: object) -> ConfigError:
    """For a record that is none, or not of what its name says."""
    return ConfigError(
        f"{path}: expected a record ({why}); get it back (`git checkout`), or remove it and make it again by what it "
        "is of, with `--record`"
    )


def require_kind(path: Path, kind: str) -> None:
    """Raises `ConfigError` where a record is named otherwise than what it says that it is, a `kind`."""
    if path.stem[: -DIGITS - 1] != kind:
        raise damaged(path, f"it says that it is {kind}")


def require_figures(result: Mapping[str, Any], needs: Iterable[str]) -> None:
    """Raises `ValueError` where it is no object, one of `needs` is not there, or a success rate is none."""
    if not isinstance(result, Mapping):
        raise ValueError(f"expected an object, got {type(result).__name__}")
    named = set(needs)
    if missing := named - result.keys():
        raise ValueError(f"expected {', '.join(sorted(missing))} in it")
    for name in sorted(named & RATES):
        if not (isinstance(result[name], int | float) and 0 <= result[name] <= 1):
            raise ValueError(f"expected a {name} from 0 to 1, got {result[name]!r}")


def compared(result: Mapping[str, Any], superseded: Iterable[Path]) -> dict[str, list[str]]:
    """`ALIKE` and `OTHERWISE` for the record of `result`, as far as there is anything to say.

    What a record was the same as, or not, before, holds of one that is the same as it.
    """
    found: dict[str, set[str]] = {ALIKE: set(), OTHERWISE: set()}
    for path in superseded:
        try:
            before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            known = {name: before.pop(name, []) for name in found}
        except (OSError, ValueError, AttributeError):
            continue  # damaged: it says nothing
        if not before:
            continue
        figures = {name: value for name, value in before.items() if name not in CLOCK}
        if all(name in result and result[name] == value for name, value in figures.items()):
            found[ALIKE].add(path.stem[-DIGITS:])
            for name, digests in known.items():
                found[name].update(digests)
        else:
            found[OTHERWISE].add(path.stem[-DIGITS:])
    return {name: sorted(digests) for name, digests in found.items() if digests}


def apart(those: Iterable[R], records: Path, group: Callable[[R], Hashable]) -> tuple[list[R], list[R]]:
    """Of cells on record that this code has not made: those of code that it computes alike, and those of other code.

    What is shown alike of one cell, and otherwise of none, holds for those of its `group`: of the same method on the
    same task.
    """
    cells = list(those)
    alike: dict[Hashable, set[str]] = {}
    otherwise: dict[Hashable, set[str]] = {}
    for cell in cells:
        path = records / f"{cell.name}.json"
        if path.exists():
            record = read_record(path)
            for of, name in ((alike, ALIKE), (otherwise, OTHERWISE)):
                of.setdefault(group(cell), set()).update(record.get(name, []))
    equal, other = [], []
    for cell in cells:
        if not (records / f"{cell.name}.json").exists():
            by = {path.stem[-DIGITS:] for path in earlier(records, cell.kind)}
            shown = by & (alike.get(group(cell), set()) - otherwise.get(group(cell), set()))
            (equal if shown else other).append(cell)
    return equal, other


def words(equal: str, other: str) -> list[str]:
    """Paragraphs that name both, where there are any."""
    found = []
    if equal:
        found.append(
            "Made by earlier code, which this code computes alike (of each a cell was made again, and every figure "
            f"came out the same): {equal}.\n"
        )
    if other:
        found.append(f"Made by other code or settings than are here now, and not again since: {other}.\n")
    return found
