"""Which code made what is on record: a cell that comes out the same again speaks for the others of its code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cells
from benchmarks.cells import once
from benchmarks.provenance import ALIKE, OTHERWISE, apart, read_record, words
from robot_rl.errors import ConfigError

OLD, OLDER, NOW = "0" * 12, "1" * 12, "2" * 12
FIGURES = {"success": 0.5, "curve": [[1, 0], [2, 1]], "training_seconds": 100.0}


@dataclass(frozen=True)
class Made:
    """A cell of this test."""

    method: str
    seed: int

    @property
    def kind(self) -> str:
        return f"task-{self.method}-{self.seed}"

    @property
    def name(self) -> str:
        return f"{self.kind}-{NOW}"


def put(records: Path, cell: Made, digest: str, **figures: Any) -> None:
    records.mkdir(exist_ok=True)
    (records / f"{cell.kind}-{digest}.json").write_text(json.dumps(FIGURES | figures))


def make_again(records: Path, cell: Made, out: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    once(out / "cell.json", cell.kind, cell.name, lambda: dict(result), True, records)
    (out / "cell.json").unlink()
    made: dict[str, Any] = json.loads((records / f"{cell.name}.json").read_text())
    return made


def test_a_cell_that_comes_out_the_same_speaks_for_the_others_of_its_code(tmp_path: Path) -> None:
    records = tmp_path / "records"
    those = [Made("usr", seed) for seed in range(4)]
    for cell in those[:3]:
        put(records, cell, OLD)
    put(records, those[3], OLDER)
    other = Made("zprl", 0)
    put(records, other, OLD)
    assert apart([*those, other], records, lambda cell: cell.method) == ([], [*those, other])
    made = make_again(records, those[0], tmp_path, FIGURES | {"training_seconds": 7.0, "new": 1})
    assert made[ALIKE] == [OLD]
    assert made["training_seconds"] == 7.0
    assert sorted(path.name for path in records.glob(f"{those[0].kind}-*")) == [f"{those[0].name}.json"]
    equal, different = apart([*those, other], records, lambda cell: cell.method)
    assert equal == those[1:3]
    assert different == [those[3], other]


def test_what_is_compared_is_what_is_kept(tmp_path: Path) -> None:
    records, cell = tmp_path / "records", Made("usr", 0)
    put(records, cell, OLD)
    assert make_again(records, cell, tmp_path, {**FIGURES, "curve": ((1, 0), (2, 1))})[ALIKE] == [OLD]


@pytest.mark.parametrize("result", [{**FIGURES, "success": 0.51}, {"success": 0.5, "training_seconds": 1.0}])
def test_one_that_comes_out_otherwise_speaks_for_nobody(tmp_path: Path, result: dict[str, Any]) -> None:
    records, cell, sibling = tmp_path / "records", Made("usr", 0), Made("usr", 1)
    put(records, cell, OLD)
    put(records, sibling, OLD)
    made = make_again(records, cell, tmp_path, result)
    assert ALIKE not in made
    assert made[OTHERWISE] == [OLD]
    assert apart([cell, sibling], records, lambda one: one.method) == ([], [sibling])


def test_one_that_comes_out_otherwise_outweighs_one_that_does_not(tmp_path: Path) -> None:
    records, those = tmp_path / "records", [Made("usr", seed) for seed in range(3)]
    for cell in those:
        put(records, cell, OLD)
    make_again(records, those[0], tmp_path, FIGURES)
    assert apart(those, records, lambda one: one.method) == (those[1:], [])
    make_again(records, those[1], tmp_path, {**FIGURES, "success": 0.9})
    assert apart(those, records, lambda one: one.method) == ([], [those[2]])


def test_a_damaged_record_says_nothing_and_is_replaced(tmp_path: Path) -> None:
    records, cell = tmp_path / "records", Made("usr", 0)
    put(records, cell, OLD)
    (records / f"{cell.kind}-{OLD}.json").write_text("{")
    assert make_again(records, cell, tmp_path, FIGURES) == FIGURES
    assert len(list(records.iterdir())) == 1


def test_what_was_the_same_as_an_older_one_is_so_still(tmp_path: Path) -> None:
    records, cell, sibling = tmp_path / "records", Made("usr", 0), Made("usr", 1)
    put(records, cell, OLD, **{ALIKE: [OLDER]})
    put(records, sibling, OLDER)
    assert make_again(records, cell, tmp_path, FIGURES)[ALIKE] == [OLD, OLDER]
    assert apart([cell, sibling], records, lambda one: one.method) == ([sibling], [])


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_record_is_named_where_a_page_is_made_of_it(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "one.json").write_bytes(damage)
    with pytest.raises(ConfigError, match=r"one\.json: expected a record .*--record"):
        read_record(tmp_path / "one.json")


def test_the_words_are_there_where_there_is_something_to_say() -> None:
    assert words("", "") == []
    (alike,) = words("`usr`, seeds 1", "")
    assert "computes alike" in alike
    assert alike.endswith("`usr`, seeds 1.\n")
    assert len(words("a", "b")) == 2


def test_every_record_of_the_project_is_one_of_its_kind() -> None:
    """The newest code's takes the place of the others."""
    stems = [path.stem[:-13] for path in cells.RECORDS.glob("*.json")]
    assert len(stems) == len(set(stems))
