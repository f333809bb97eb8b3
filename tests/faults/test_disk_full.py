"""A disk that is full at the n-th operation of a run, for every n: HOLD, alarm, and on it goes when there is space."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_rl.compositions import disk as disk_module
from robot_rl.compositions.disk import DiskWatch
from robot_rl.control.progress import State
from robot_rl.errors import DiskError
from robot_rl.store.episode import MCAP_NAME, salvage, verify
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from tests.control.test_actor import Run
from tests.faults.disk import Disk, Mode, failing

EPISODES = 2
LASTS = 3
"""Operations that fail after the first one, until there is space."""


class Watched(Run):
    """A run whose operator and disk watch are polled as the compositions do it; what was seen while it was paused."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, planned=EPISODES)
        self.disk = DiskWatch(self.session, self.store, self.clock)
        self.paused_by: set[str] = set()
        self.moved_while_paused = 0
        self.make_space: Callable[[], object] = lambda: None
        """Called once it has been paused."""
        self._applied = 0

    def pump(self) -> None:
        moved, self._applied = len(self.robot.applied) - self._applied, len(self.robot.applied)
        if self.session.disk is not None and self.session.state is State.PAUSED:
            self.paused_by.add(self.actor.snapshot()["why"])
            self.moved_while_paused += moved
            self.make_space()
        self.disk.poll()
        super().pump()


def run_on(folder: Path, disk: Disk) -> Watched:
    with Watched(folder) as run, failing(disk):
        run.actor.run()
    return run


def check(directory: RunDirectory) -> None:
    """As many episodes as planned are labelled and whole; nothing is left open, what was lost is set aside."""
    trained = labelled_episodes(directory)
    assert len(trained) == EPISODES
    assert all(verify(directory.episode(episode)).outcome.complete for episode, _ in trained)
    assert not directory.partial_episodes()
    for path in directory.incomplete_paths():
        if (path / MCAP_NAME).exists():
            salvage(path / MCAP_NAME, "/steps")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "RETRY_S", 0.0)
    monkeypatch.setattr("robot_rl.control.motion.IDLE_S", 0.0)


@pytest.mark.parametrize(("mode", "lasts", "flush_s"), [("full", 0, 0.0), ("full", LASTS, 0.5), ("torn", 0, 0.5)])
def test_a_disk_that_refuses_holds_the_robot_and_the_run_goes_on_when_there_is_space(
    tmp_path: Path,
    mode: Mode,
    lasts: int,
    flush_s: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("robot_rl.store.episode.FLUSH_S", flush_s)  # 0: every message is a write
    nth = alarms = 0
    while True:
        nth += 1
        caplog.clear()
        folder = tmp_path / str(nth)
        with caplog.at_level(logging.WARNING):
            run = run_on(folder, disk := Disk(folder, nth, mode, lasts))
        assert run.session.state is State.FINISHED, f"operation {nth}"
        check(run.directory)
        if not disk.failed:
            break
        assert run.moved_while_paused == 0, f"operation {nth}"
        alarms += bool(run.paused_by)
        for why in run.paused_by:
            assert any(words in why for words in ("No space left", "the disk is full", "put/output error")), why
        assert ("paused, the disk refuses" in caplog.text) == bool(run.paused_by), f"operation {nth}"
    assert nth > (30 if flush_s == 0 else 10) * EPISODES
    print(f"{nth - 1} operations, {alarms} of them stopped the run")
    assert alarms > nth // 2


def test_a_label_log_without_space_pauses_and_no_label_is_lost(tmp_path: Path) -> None:
    """SQLite's own refusal, at the first entry that needs another page, in each of the run's commands in turn."""
    for filler in range(12):
        with Watched(tmp_path / str(filler)) as run:
            limit_pages(run, 0)
            with pytest.raises(DiskError, match="full"):
                fill(run)
            limit_pages(run, filler)
            run.make_space = functools.partial(limit_pages, run, 1000)
            run.actor.run()
            check(run.directory)
            if filler == 0:
                assert all("database or disk is full" in why for why in run.paused_by)
                assert run.paused_by


def fill(run: Run) -> None:
    while True:
        run.store.record("filler", "test", {"words": "x" * 100})


def limit_pages(run: Run, more: int) -> None:
    """Let the label log grow by `more` pages and no further."""
    sqlite = run.store._log._sqlite
    pages = sqlite.execute("PRAGMA page_count").fetchone()[0]
    sqlite.execute(f"PRAGMA max_page_count = {pages + more}")
