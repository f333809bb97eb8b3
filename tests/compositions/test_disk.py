"""Who says `run` after a full disk: the watch, as soon as there is space, and only after a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_rl.compositions import disk as disk_module
from robot_rl.compositions.disk import DiskWatch
from robot_rl.control.progress import State
from robot_rl.store import reserve as reserve_module
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.store import Store
from tests.control.cell import Cell

TOO_MUCH = 2**62
"""Bytes that no disk has."""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Cell, DiskWatch]]:
    """A cell that is armed and runs."""
    cell = Cell()
    store = Store(RunDirectory.create(tmp_path / "run", RunInfo("lid", "usr", 0, "ab" * 32, "0.1")))
    cell.press("arm")
    cell.press("run")
    yield cell, DiskWatch(cell.session, store, cell.clock)
    store.close()


def test_it_looks_for_space_once_a_second_and_then_runs(
    watched: tuple[Cell, DiskWatch], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cell, watch = watched
    held = watch.store._reserve  # type: ignore[attr-defined]
    cell.session.disk_refused("No space left on device")
    monkeypatch.setattr(held, "_size", TOO_MUCH)
    watch.poll()
    assert cell.session.state is State.PAUSED
    assert "the disk is full: expected" in cell.session.now.why
    monkeypatch.setattr(held, "_size", reserve_module.RESERVE_BYTES)
    watch.poll()
    assert cell.session.state is State.PAUSED, "it has just looked"
    monkeypatch.setattr(disk_module.time, "monotonic", lambda: watch._due)
    watch.poll()
    assert cell.session.state is State.RUNNING
    assert "the run goes on" in caplog.text
    assert [kind for kind, author, _ in cell.book.audit if author == "auto"] == ["command.run"]


def test_a_persons_pause_is_theirs(watched: tuple[Cell, DiskWatch]) -> None:
    cell, watch = watched
    cell.press("pause")
    watch.poll()
    assert cell.session.state is State.PAUSED


def test_a_stop_meanwhile_is_not_cleared(watched: tuple[Cell, DiskWatch]) -> None:
    cell, watch = watched
    cell.session.disk_refused("No space left on device")
    cell.press("stop")
    watch.poll()
    assert cell.session.state is State.STOPPED
    (cause,) = cell.causes()
    cell.press("clear", cause_id=cause)
    watch.poll()
    assert cell.session.state is State.PAUSED, "it waits for a person"
