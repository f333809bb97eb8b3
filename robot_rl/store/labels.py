"""The label log: what operators said, append-only, so that no label is ever lost and every correction can be seen.

SQLite in WAL mode with synchronous=FULL: when `add` has returned, the label survives a kill and a power cut. Triggers
refuse to change or delete a row. The newest event of an episode counts. Several threads and processes of one host may
use one log at once (WAL needs shared memory: not over a network file system). Next to the labels lies the audit log:
who did what, when. Whoever only reads takes `store.label_snapshot`, which writes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robot_rl.clock import wall_time_ns
from robot_rl.errors import DiskError, IntegrityError, LabelConflict, StoreError
from robot_rl.store.records import JSON
from robot_rl.types import Label, LabelValue

BUSY_S = 10.0
"""Seconds to wait for other writers."""
LEAST_BYTES = 64 * 1024
"""Of free space, without which SQLite does not even open a log (its shared memory is a file of 32 KiB)."""
FORMAT = 1
"""SQLite's user_version of this layout."""
BESIDE = ("-wal", "-shm")
"""Suffixes of the files that SQLite keeps beside a log: what is not folded in yet, and its index."""
_VALUES = frozenset(value.value for value in LabelValue)

_SCHEMA = """
CREATE TABLE labels (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    episode INTEGER NOT NULL,
    value TEXT NOT NULL CHECK (value IN ('success', 'failure', 'discard')),
    author TEXT NOT NULL,
    supersedes TEXT,
    wall_ns INTEGER NOT NULL
);
CREATE INDEX labels_by_episode ON labels (episode, seq);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    author TEXT NOT NULL,
    detail TEXT NOT NULL,
    wall_ns INTEGER NOT NULL
);
CREATE TRIGGER labels_update BEFORE UPDATE ON labels BEGIN SELECT RAISE(ABORT, 'labels are append-only'); END;
CREATE TRIGGER labels_delete BEFORE DELETE ON labels BEGIN SELECT RAISE(ABORT, 'labels are append-only'); END;
CREATE TRIGGER labels_replace BEFORE INSERT ON labels
    WHEN EXISTS (SELECT 1 FROM labels WHERE seq = NEW.seq OR event_id = NEW.event_id)
    BEGIN SELECT RAISE(ABORT, 'labels are append-only'); END;
CREATE TRIGGER events_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_replace BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
"""

_LABEL = "SELECT seq, event_id, episode, value, author, supersedes, wall_ns FROM labels"


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """A label as the log has it."""

    seq: int
    """Rises with every label of the run; an episode's revision is that of its newest event, 0 without one."""
    label: Label
    """`supersedes` is filled in."""
    wall_ns: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One entry of the audit log."""

    seq: int
    kind: str
    author: str
    detail: dict[str, Any]
    wall_ns: int


class LabelReader:
    """The questions that an open log answers. Each raises `IntegrityError` for a log that is damaged."""

    refusal = "not used"
    """What became of what was asked, when an answer cannot be had."""

    def __init__(self, path: Path, sqlite: sqlite3.Connection) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._sqlite = sqlite

    def current(self) -> dict[int, LabelEvent]:
        """Episode -> its newest event, in the order of episodes."""
        with self._reading():
            newest = self._select("WHERE seq IN (SELECT MAX(seq) FROM labels GROUP BY episode) ORDER BY episode")
        return {event.label.episode: event for event in newest}

    def history(self, episode: int) -> list[LabelEvent]:
        """Every event of an episode, oldest first."""
        with self._reading():
            return self._select("WHERE episode = ? ORDER BY seq", episode)

    def since(self, seq: int) -> list[LabelEvent]:
        """Every event after `seq`, oldest first."""
        with self._reading():
            return self._select("WHERE seq > ? ORDER BY seq", seq)

    def corrected(self) -> list[LabelEvent]:
        """Every event of the episodes that have more than one, oldest first."""
        with self._reading():
            return self._select(
                "WHERE episode IN (SELECT episode FROM labels GROUP BY episode HAVING COUNT(*) > 1) ORDER BY seq"
            )

    def watermark(self) -> int:
        """The seq of the newest label event, 0 when there is none."""
        with self._reading():
            return int(self._sqlite.execute("SELECT COALESCE(MAX(seq), 0) FROM labels").fetchone()[0])

    def events(self, after: int = 0) -> list[AuditEvent]:
        """The audit log's entries with seq > `after`, oldest first."""
        with self._reading():
            rows = self._sqlite.execute(
                "SELECT seq, kind, author, detail, wall_ns FROM events WHERE seq > ? ORDER BY seq", (after,)
            ).fetchall()
            return [_audit_event(self.path, row) for row in rows]

    @property
    def owner(self) -> int:
        """The run that it is of (`RunDirectory.identity`), 0 if it does not say."""
        with self._reading():
            return int(self._sqlite.execute("PRAGMA application_id").fetchone()[0])

    def close(self) -> None:
        """Let go of the file; the log cannot be used afterwards."""
        with self._lock:
            self._sqlite.close()

    def _format(self) -> int:
        with self._reading():
            return int(self._sqlite.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OverflowError, UnicodeError) as error:
                raise _kind(error)(f"label log {self.path}: {error}; {self.refusal}{_full(self.path)}") from error

    def _select(self, where: str, *arguments: int | str) -> list[LabelEvent]:
        return [_label_event(self.path, row) for row in self._sqlite.execute(f"{_LABEL} {where}", arguments)]


class LabelLog(LabelReader):
    """The log in one SQLite file, which is made if it is not there, to be read and appended to.

    `owner`: the run that it is of (`RunDirectory.identity`); written into it, 0 for whoever does not care. Raises
    `StoreError` when it cannot be opened, `IntegrityError` when it is a link, damaged, or another run's.
    """

    refusal = "nothing was appended"

    def __init__(self, path: Path, owner: int = 0) -> None:
        require_plain(path)
        try:
            sqlite = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreError(f"cannot open the label log {path}: {error}") from error
        super().__init__(path, sqlite)
        try:
            self._prepare()
            if owner:
                self._require_owner(owner)
        except BaseException:
            self._sqlite.close()
            raise

    def add(self, label: Label, expected_revision: int | None = None) -> LabelEvent:
        """Append a label; when this returns it is on the disk.

        The same `event_id` again with the same body gives the same event; nothing is appended.
        Raises `LabelConflict` for the same id with another body, when `label.supersedes` is given and is not the
        episode's current label, and when `expected_revision` is given and is not the episode's revision.
        """
        with self._transaction():
            if (posted := self._find(label.event_id)) is not None:
                return _same(posted, label)
            newest = self._newest(label.episode)
            revision = newest.seq if newest else 0
            if expected_revision is not None and expected_revision != revision:
                raise LabelConflict(
                    f"episode {label.episode}: expected revision {expected_revision}, but it is {revision} "
                    f"({_words(newest)}); look at the newest label and label again"
                )
            current = newest.label.event_id if newest else None
            if label.supersedes is not None and label.supersedes != current:
                raise LabelConflict(
                    f"episode {label.episode}: expected to supersede {label.supersedes!r}, "
                    f"but the current label is {current!r} ({_words(newest)})"
                )
            return self._append(replace(label, supersedes=current))

    def undo(self, episode: int, author: str, event_id: str) -> LabelEvent:
        """Append the value before the newest label again, or discard if there was none; idempotent as `add` is.

        Raises `LabelConflict` for an id that is taken and `StoreError` when the episode has no label.
        """
        with self._transaction():
            events = self._select("WHERE episode = ? ORDER BY seq DESC LIMIT 2", episode)
            if (posted := self._find(event_id)) is not None:
                return _same(posted, Label(event_id, episode, posted.label.value, author))
            if not events:
                raise StoreError(f"episode {episode} has no label to undo")
            value = events[1].label.value if len(events) == 2 else LabelValue.DISCARD
            return self._append(Label(event_id, episode, value, author, events[0].label.event_id))

    def record(self, kind: str, author: str, detail: Mapping[str, JSON]) -> AuditEvent:
        """Append to the audit log. Raises `StoreError` for a detail that JSON cannot hold."""
        try:
            text = json.dumps(detail, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise StoreError(f"audit event {kind!r}: expected what JSON can hold: {error}") from error
        wall_ns = wall_time_ns()
        with self._transaction():
            cursor = self._sqlite.execute(
                "INSERT INTO events (kind, author, detail, wall_ns) VALUES (?, ?, ?, ?)", (kind, author, text, wall_ns)
            )
            return AuditEvent(int(cursor.lastrowid or 0), kind, author, json.loads(text), wall_ns)

    def _prepare(self) -> None:
        """WAL, full syncs, and the tables; two processes may be doing this at once."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                with self._reading():
                    self._sqlite.execute("PRAGMA journal_mode = WAL")
                    self._sqlite.execute("PRAGMA synchronous = FULL")
                break
            except StoreError as error:
                # SQLite does not wait for another process that is switching a new file to WAL.
                if "locked" not in str(error.__cause__) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        if self._format() == 0:
            with self._transaction():
                if self._sqlite.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in _statements(_SCHEMA):
                        self._sqlite.execute(statement)
                    self._sqlite.execute(f"PRAGMA user_version = {FORMAT}")
        if (found := self._format()) != FORMAT:
            raise IntegrityError(f"{self.path}: expected label log format {FORMAT}, got {found}; use its version")

    def _require_owner(self, owner: int) -> None:
        found = self.owner
        if not found:
            with self._transaction():
                self._sqlite.execute(f"PRAGMA application_id = {owner:d}")
        elif found != owner:
            raise IntegrityError(f"{self.path} is the label log of another run; put this run's own back")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One writer at a time over all threads and processes; everything or nothing, on the disk when it ends."""
        with self._reading():
            self._sqlite.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._sqlite.execute("COMMIT")
            except BaseException:
                if self._sqlite.in_transaction:
                    self._sqlite.execute("ROLLBACK")
                raise

    def _append(self, label: Label) -> LabelEvent:
        wall_ns = wall_time_ns()
        cursor = self._sqlite.execute(
            "INSERT INTO labels (event_id, episode, value, author, supersedes, wall_ns) VALUES (?, ?, ?, ?, ?, ?)",
            (label.event_id, label.episode, label.value.value, label.author, label.supersedes, wall_ns),
        )
        return LabelEvent(int(cursor.lastrowid or 0), label, wall_ns)

    def _find(self, event_id: str) -> LabelEvent | None:
        found = self._select("WHERE event_id = ?", event_id)
        return found[0] if found else None

    def _newest(self, episode: int) -> LabelEvent | None:
        found = self._select("WHERE episode = ? ORDER BY seq DESC LIMIT 1", episode)
        return found[0] if found else None


def require_plain(path: Path) -> None:
    """Raises `IntegrityError` for a log, or what SQLite keeps beside it, that is a link or no file: not followed."""
    for name in (path.name, *(f"{path.name}{suffix}" for suffix in BESIDE)):
        beside = path.with_name(name)
        try:
            mode = os.lstat(beside).st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"cannot open the label log {beside}: {error.strerror or error}") from error
        if stat.S_ISLNK(mode):
            raise IntegrityError(f"{beside} is a symbolic link: expected the data itself; not followed")
        if not stat.S_ISREG(mode):
            raise IntegrityError(f"{beside}: expected a plain file; not opened")


def _label_event(path: Path, row: Sequence[object]) -> LabelEvent:
    """A row as SQLite gives it: its columns hold whatever a damaged file says, of any type."""
    seq, event_id, episode, value, author, supersedes, wall_ns = row
    if (
        isinstance(seq, int)
        and isinstance(event_id, str)
        and isinstance(episode, int)
        and value in _VALUES
        and isinstance(author, str)
        and isinstance(supersedes, str | None)
        and isinstance(wall_ns, int)
    ):
        return LabelEvent(seq, Label(event_id, episode, LabelValue(value), author, supersedes), wall_ns)
    raise IntegrityError(f"label log {path}: event {seq!r:.20} is no label: {row[1:]!r:.200}; the log is damaged")


def _audit_event(path: Path, row: Sequence[Any]) -> AuditEvent:
    seq, kind, author, text, wall_ns = row
    try:
        detail = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"label log {path}: audit event {seq!r:.20} is no JSON: {error!r:.100}") from error
    return AuditEvent(seq, kind, author, detail, wall_ns)


def _kind(error: Exception) -> type[StoreError]:
    """SQLite's plain DatabaseError means a damaged file; its subclasses mean a refusal, some of them by the disk."""
    if type(error) is sqlite3.DatabaseError or isinstance(error, UnicodeDecodeError):
        return IntegrityError
    if isinstance(error, sqlite3.OperationalError) and "decode" in str(error):  # text that is not UTF-8
        return IntegrityError
    refused = isinstance(error, sqlite3.OperationalError) and "disk" in str(error)  # "... is full", "disk I/O error"
    return DiskError if refused else StoreError


def _full(path: Path) -> str:
    """SQLite says "disk I/O error" of a disk without space: what there is to say of that."""
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return ""
    return "" if free >= LEAST_BYTES else f". The disk is full ({free / 1024:.0f} KiB are free): free space there"


def _same(posted: LabelEvent, label: Label) -> LabelEvent:
    """`posted` if it says what `label` says, else `LabelConflict`."""
    there, here = posted.label, label
    if here.supersedes is None:
        here = replace(here, supersedes=there.supersedes)
    if there != here:
        raise LabelConflict(
            f"label event {label.event_id!r} exists already for episode {there.episode} ({_words(posted)}), "
            f"got episode {label.episode}, {label.value.value} by {label.author}; a new label needs a new event id"
        )
    return posted


def _words(event: LabelEvent | None) -> str:
    return f"{event.label.value.value} by {event.label.author}" if event else "no label"


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction that it runs in."""
    statement = ""
    for line in script.strip().splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
