"""A label log as it was at one moment, in memory: read without writing a byte, from a disk that refuses to be written.

SQLite's own way of reading a log in WAL mode makes files beside it. What a killed writer left in the WAL counts, so
that it is not enough to read the main file alone:

- no WAL, or an empty one: all there is lies in the main file; SQLite reads it as one that does not change
  (`immutable`), and whether it did change meanwhile is looked at afterwards;
- a WAL with its index (a run goes on, or its writer was killed): SQLite reads both, with the writer's knowledge;
- a WAL without an index, or one that cannot be used: nobody has the log open. A copy of both is put together elsewhere.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.labels import BUSY_S, FORMAT, LabelEvent, LabelReader, require_plain

_SAID = 5
"""Of SQLite's complaints about a damaged file: the first are enough."""


class LabelSnapshot(LabelReader):
    """What `LabelReader` answers, as of now; later events are not in it.

    A file without anything in it is a log without labels. Raises `StoreError` for a log that cannot be read,
    `IntegrityError` for one that is a link or damaged.
    """

    def __init__(self, path: Path) -> None:
        require_plain(path)
        if not path.exists():
            raise StoreError(f"the label log {path} is gone: put it back")
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        super().__init__(path, memory)
        try:
            with self._reading():
                _copy(path, memory)
            with self._reading():
                made = memory.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            self.empty = not made
            """Nothing was ever written to it, not even its tables."""
            if made and (found := self._format()) != FORMAT:
                raise IntegrityError(f"{path}: expected label log format {FORMAT}, got {found}; use its version")
        except BaseException:
            memory.close()
            raise

    def current(self) -> dict[int, LabelEvent]:
        return {} if self.empty else super().current()

    def corrected(self) -> list[LabelEvent]:
        return [] if self.empty else super().corrected()

    def watermark(self) -> int:
        return 0 if self.empty else super().watermark()

    def damage(self) -> list[str]:
        """What is wrong with the log by itself, a sentence each: SQLite's own check, then events that are missing.

        Numbers are given in order and never twice, and an append that fails takes none: one that is not there was
        removed. Raises as the other questions do.
        """
        if self.empty:
            return []
        with self._reading():
            said = [str(row[0]) for row in self._sqlite.execute(f"PRAGMA integrity_check({_SAID})")]
            found = [f"the file is damaged: {words}" for words in said if words != "ok"]
            for table in ("labels", "events"):
                seqs = [seq for (seq,) in self._sqlite.execute(f"SELECT seq FROM {table} ORDER BY seq")]
                row = self._sqlite.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
                if not all(isinstance(number, int) for number in (*seqs, *(row or ()))):
                    found.append(f"the numbers of its {table} are no numbers")
                    continue
                last = max([0, *seqs, *(row or ())])
                if missing := _first_missing(seqs, last):
                    found.append(f"{last - len(seqs)} of {last} {table} are missing, the first is number {missing}")
        return found


def _first_missing(seqs: list[int], last: int) -> int | None:
    """The first of 1 to `last` that is not in the ascending `seqs`."""
    if len(seqs) == last:
        return None
    return next((n for n, seq in enumerate(seqs, start=1) if seq != n), len(seqs) + 1)


def _copy(path: Path, memory: sqlite3.Connection) -> None:
    """Raises what SQLite raises."""
    wal, shm = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    deadline = time.monotonic() + BUSY_S
    while time.monotonic() < deadline:
        before = _stamps(path, wal)
        if not before[1] or not before[1][1]:
            _take(path, "immutable=1", memory)
            if _stamps(path, wal) == before:
                return
            continue  # somebody has begun to write
        if shm.exists():
            try:
                return _take(path, "mode=ro", memory)
            except sqlite3.OperationalError:
                if _stamps(path, wal) != before:
                    continue  # the last writer has just closed it
        try:
            return _take_recovered(path, wal, memory)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"cannot read the label log {path}: {error.strerror or error}") from error
    raise StoreError(f"cannot read the label log {path}: it changes all the time; try again")


def _take(path: Path, how: str, memory: sqlite3.Connection) -> None:
    source = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&{how}", timeout=BUSY_S, uri=True)
    try:
        source.backup(memory)
    finally:
        source.close()


def _take_recovered(path: Path, wal: Path, memory: sqlite3.Connection) -> None:
    with TemporaryDirectory(prefix="robot-rl-labels-") as folder:
        copy = Path(folder) / "labels"
        shutil.copyfile(path, copy)
        shutil.copyfile(wal, copy.with_name(copy.name + "-wal"))
        source = sqlite3.connect(copy)
        try:
            source.backup(memory)
        finally:
            source.close()


def _stamps(*paths: Path) -> list[tuple[int, int, int] | None]:
    """(inode, size, time of change) of each, None for one that is not there."""
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            status = os.lstat(path)
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found
