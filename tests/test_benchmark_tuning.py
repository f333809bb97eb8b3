"""Tuning: what is tried is the entry with what was set, on tuning seeds alone, once, and on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import tuning
from benchmarks.cells import Cell
from robot_rl.errors import ConfigError
from robot_rl.task_files import load_task


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """The cells that were asked for; each has made-up figures, and the record is the test's own."""
    cells: list[Cell] = []

    def run_cell(cell: Cell, out: Path) -> dict[str, Any]:
        cells.append(cell)
        return {"success": 0.6 + cell.seed / 1000, "log": {"entropy": 1.23456}} | dict.fromkeys(tuning.FIGURES[1:], 1)

    monkeypatch.setattr(tuning, "run_cell", run_cell)
    monkeypatch.setattr(tuning, "RECORD", tmp_path / "tuning.jsonl")
    return cells


def test_what_is_tried_is_the_entry_with_what_was_set(tmp_path: Path) -> None:
    settings = {**tuning.entry("lid_opening", "zprl"), "critics": 5}
    task = load_task(tuning.tried_task("lid_opening", "zprl", settings, tmp_path))
    assert list(task.methods) == ["zprl"]
    assert task.method("zprl").critics == 5
    assert task.method("zprl").latent_scale == load_task("lid_opening").method("zprl").latent_scale
    assert Path(task.policy.checkpoint).is_file()


def test_settings_that_a_method_does_not_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="residual_horizon"):
        tuning.tried_task("lid_opening", "zprl", {"residual_horizon": 10}, tmp_path)


def test_a_trial_is_run_once_and_its_record_is_shown(ran: list[Cell], tmp_path: Path) -> None:
    arguments = ["zprl", "--set", "critics=5", "--out", str(tmp_path / "out")]
    assert tuning.main([*arguments, "--seed", "100"]) == 0
    assert tuning.main(arguments) == 0
    protocol = load_task("lid_opening").protocol
    assert sorted(cell.seed for cell in ran) == sorted(protocol.tuning_seeds)
    assert {(cell.episodes, cell.trials) for cell in ran} == {(protocol.episodes, protocol.trials)}
    lines = tuning.recorded()
    assert sorted(line["seed"] for line in lines) == sorted(protocol.tuning_seeds)
    assert all(line["settings"]["critics"] == 5 and len(line["digest"]) == 12 for line in lines)
    console = Console(width=160)
    with console.capture() as shown:
        console.print(tuning.table(lines))
    assert "critics 5" in shown.get()
    assert "100: 0.70 101: 0.70" in shown.get()


def test_the_seeds_of_the_table_choose_nothing(ran: list[Cell]) -> None:
    with pytest.raises(ConfigError, match="expected tuning seeds"):
        tuning.main(["zprl", "--seed", "0"])
    assert not ran
