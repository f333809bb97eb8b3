from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.label_snapshot import LabelSnapshot
from robot_rl.store.labels import LabelLog
from robot_rl.types import Label, LabelValue
from tests.ordinary_user import read_only

S = LabelValue.SUCCESS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.sqlite"


def fill(log: LabelLog, first: int, last: int) -> None:
    for episode in range(first, last + 1):
        log.add(Label(f"e{episode}", episode, S, "ada"))


def numbers(path: Path) -> list[int]:
    log = LabelSnapshot(path)
    try:
        assert log.watermark() == len(log.current())
        return list(log.current())
    finally:
        log.close()


def contents(folder: Path) -> dict[str, bytes]:
    """All but the index of a WAL, in which readers that are at it leave a mark."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def left_by_a_kill(path: Path) -> None:
    """Two labels in the main file, and two that are in the WAL alone."""
    code = (
        "import sys; from pathlib import Path; from robot_rl.store.labels import LabelLog;"
        "from tests.store.test_label_snapshot import fill; import os, signal;"
        "path = Path(sys.argv[1]); log = LabelLog(path); fill(log, 1, 2); log.close();"
        "fill(LabelLog(path), 3, 4); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=30)
    assert path.with_name("labels.sqlite-wal").stat().st_size > 0


def test_what_is_closed_open_or_left_by_a_kill_is_read_and_no_byte_is_written(path: Path) -> None:
    log = LabelLog(path)
    fill(log, 1, 3)
    before = contents(path.parent)
    assert numbers(path) == [1, 2, 3]
    assert contents(path.parent) == before
    fill(log, 4, 4)
    assert numbers(path) == [1, 2, 3, 4]
    log.close()
    before = contents(path.parent)
    assert list(before) == [path.name]
    assert numbers(path) == [1, 2, 3, 4]
    assert contents(path.parent) == before


def test_a_closed_log_is_read_where_it_cannot_be_written(path: Path) -> None:
    log = LabelLog(path)
    fill(log, 1, 2)
    log.close()
    with read_only(path.parent):
        with pytest.raises(StoreError):
            fill(LabelLog(path), 3, 3)
        assert numbers(path) == [1, 2]


def test_a_killed_writers_labels_are_read_from_a_disk_that_cannot_be_written(path: Path) -> None:
    left_by_a_kill(path)
    with read_only(path.parent):
        assert numbers(path) == [1, 2, 3, 4]
    path.with_name("labels.sqlite-shm").unlink()  # as in a copy of a run
    before = contents(path.parent)
    with read_only(path.parent):
        assert numbers(path) == [1, 2, 3, 4]
    assert numbers(path) == [1, 2, 3, 4]
    assert contents(path.parent) == before
    log = LabelLog(path)  # and none of it kept the next writer from them
    assert len(log.current()) == 4
    log.close()


def test_a_file_with_nothing_in_it_is_an_empty_log_and_one_that_is_not_there_is_none(path: Path) -> None:
    with pytest.raises(StoreError, match="is gone"):
        LabelSnapshot(path)
    path.touch()
    log = LabelSnapshot(path)
    assert (log.empty, log.current(), log.corrected(), log.watermark(), log.damage()) == (True, {}, [], 0, [])
    assert path.stat().st_size == 0


@pytest.mark.parametrize("name", ["labels.sqlite", "labels.sqlite-wal", "labels.sqlite-shm"])
@pytest.mark.parametrize("opened", [LabelLog, LabelSnapshot])
def test_no_link_is_followed(path: Path, name: str, opened: Callable[[Path], object]) -> None:
    LabelLog(path).close()
    outside = path.parent / "outside"
    LabelLog(outside).close()
    before = outside.read_bytes()
    path.with_name(name).unlink(missing_ok=True)
    path.with_name(name).symlink_to(outside)
    with pytest.raises(IntegrityError, match="symbolic link"):
        opened(path)
    assert outside.read_bytes() == before


def edit(path: Path, *statements: str) -> None:
    """What somebody does who does not go through the log."""
    sqlite = sqlite3.connect(path)
    for name in ("labels_update", "labels_delete", "events_delete"):
        sqlite.execute(f"DROP TRIGGER {name}")
    sqlite.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        sqlite.execute(statement)
    sqlite.commit()
    sqlite.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM labels WHERE seq = 2", ["1 of 3 labels are missing, the first is number 2"]),
        ("DELETE FROM labels WHERE seq = 3", ["1 of 3 labels are missing, the first is number 3"]),
        ("DELETE FROM labels", ["3 of 3 labels are missing, the first is number 1"]),
        ("DELETE FROM events WHERE seq = 1", ["1 of 2 events are missing, the first is number 1"]),
        ("UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'labels'", ["the numbers of its labels are no numbers"]),
        ("SELECT 1", []),
    ],
)
def test_an_event_that_was_removed_is_missed(path: Path, statement: str, words: list[str]) -> None:
    log = LabelLog(path)
    fill(log, 1, 3)
    for _ in range(2):
        log.record("armed", "ada", {})
    log.close()
    edit(path, statement)
    assert LabelSnapshot(path).damage() == words


def test_an_append_that_failed_is_not_missed(path: Path) -> None:
    log = LabelLog(path)
    fill(log, 1, 1)
    with pytest.raises(StoreError):
        log.add(Label("x" * 10, 10**30, S, "ada"))
    fill(log, 2, 2)
    assert LabelSnapshot(path).damage() == []
    log.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE labels SET value = 'sucbess' WHERE seq = 2",
        "UPDATE labels SET episode = 'x' WHERE seq = 2",
        "UPDATE labels SET episode = 1.5 WHERE seq = 2",
        "UPDATE labels SET author = x'ff' WHERE seq = 2",
        "UPDATE labels SET author = CAST(x'ff' AS TEXT) WHERE seq = 2",
    ],
)
@pytest.mark.parametrize("opened", [LabelLog, LabelSnapshot])
def test_a_row_that_is_no_label_is_a_damaged_log(
    path: Path, statement: str, opened: type[LabelLog] | type[LabelSnapshot]
) -> None:
    log = LabelLog(path)
    fill(log, 1, 3)
    log.close()
    edit(path, statement)
    reader = opened(path)
    with pytest.raises(IntegrityError):
        reader.current()
    reader.close()


def test_every_damaged_byte_is_an_answer_or_an_integrity_error(path: Path) -> None:
    """The schema's text included; a traceback anywhere fails."""
    log = LabelLog(path)
    fill(log, 1, 3)
    log.record("armed", "ada", {"n": 1})
    log.close()
    whole, copy = path.read_bytes(), path.with_name("copy.sqlite")
    interesting = [at for at, byte in enumerate(whole) if byte][::7]
    refused = 0
    for at in interesting:
        copy.write_bytes(whole[:at] + bytes([whole[at] ^ 0xA5]) + whole[at + 1 :])
        try:
            snapshot = LabelSnapshot(copy)
            try:
                snapshot.damage(), snapshot.current(), snapshot.corrected(), snapshot.events()
            finally:
                snapshot.close()
        except StoreError:
            refused += 1
    assert refused > len(interesting) // 4


def test_a_log_knows_whose_it_is(path: Path) -> None:
    LabelLog(path, owner=7).close()
    LabelLog(path, owner=7).close()
    LabelLog(path).close()  # as one who only labels opens it
    assert LabelSnapshot(path).owner == 7
    with pytest.raises(IntegrityError, match="another run"):
        LabelLog(path, owner=8)
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    assert LabelSnapshot(copy).owner == 7
