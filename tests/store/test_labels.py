from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from robot_rl.errors import DiskError, IntegrityError, LabelConflict, StoreError
from robot_rl.store.labels import LabelEvent, LabelLog
from robot_rl.types import Label, LabelValue

S, F, D = LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.DISCARD


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LabelLog]:
    log = LabelLog(tmp_path / "labels.sqlite")
    yield log
    log.close()


def label(event_id: str, episode: int = 1, value: LabelValue = S, author: str = "ada") -> Label:
    return Label(event_id, episode, value, author)


def test_the_newest_label_counts_and_all_are_kept(log: LabelLog) -> None:
    log.add(label("a", 2, S))
    log.add(label("b", 1, F))
    last = log.add(label("c", 2, F))
    assert list(log.current()) == [1, 2]
    assert log.current()[2] == last
    assert [event.label.value for event in log.history(2)] == [S, F]
    assert last.label.supersedes == "a"
    assert log.watermark() == last.seq == 3


def test_what_came_after_an_event_is_told_in_its_order(log: LabelLog) -> None:
    events = [
        log.add(label("a")),
        log.add(label("b", value=F)),
        log.add(label("c", episode=2)),
        log.undo(1, "ada", "d"),
    ]
    assert log.since(0) == events
    assert log.since(events[1].seq) == events[2:]
    assert log.since(events[-1].seq) == []


def test_an_empty_log(log: LabelLog) -> None:
    assert (log.current(), log.history(1), log.watermark(), log.events()) == ({}, [], 0, [])


def test_the_same_event_again_is_the_same_answer(log: LabelLog) -> None:
    first = log.add(label("a"), expected_revision=0)
    log.add(label("b", value=F))
    assert log.add(label("a"), expected_revision=0) == first
    assert log.add(first.label) == first
    assert len(log.history(1)) == 2


@pytest.mark.parametrize("change", [{"value": F}, {"episode": 2}, {"author": "bob"}, {"supersedes": "z"}])
def test_the_same_id_with_another_body_conflicts(log: LabelLog, change: dict[str, object]) -> None:
    log.add(label("a"))
    with pytest.raises(LabelConflict, match=r"'a' exists already.*a new label needs a new event id"):
        log.add(replace(label("a"), **change))  # type: ignore[arg-type]
    assert log.watermark() == 1


def test_a_stale_revision_conflicts(log: LabelLog) -> None:
    revision = log.add(label("a")).seq
    log.add(label("b", episode=2))
    log.add(label("c", value=F, author="bob"), expected_revision=revision)
    with pytest.raises(LabelConflict, match=r"expected revision 1, but it is 3 \(failure by bob\)"):
        log.add(label("d"), expected_revision=revision)
    with pytest.raises(LabelConflict, match=r"expected revision 7, but it is 0 \(no label\)"):
        log.add(label("d", episode=9), expected_revision=7)


def test_superseding_what_is_no_longer_current_conflicts(log: LabelLog) -> None:
    log.add(label("a"))
    log.add(replace(label("b", value=F), supersedes="a"))
    with pytest.raises(LabelConflict, match="expected to supersede 'a', but the current label is 'b'"):
        log.add(replace(label("c", value=D), supersedes="a"))


def test_undo_states_the_value_before_again(log: LabelLog) -> None:
    log.add(label("a", value=S))
    log.add(label("b", value=F))
    undone = log.undo(1, "ada", "u1")
    assert (undone.label.value, undone.label.supersedes, undone.seq) == (S, "b", 3)
    assert log.undo(1, "ada", "u1") == undone
    assert [event.label.value for event in log.history(1)] == [S, F, S]


def test_undo_of_the_only_label_discards(log: LabelLog) -> None:
    log.add(label("a"))
    assert log.undo(1, "ada", "u1").label.value is D
    assert log.undo(1, "ada", "u2").label.value is S


def test_undo_refuses_a_taken_id_and_an_episode_without_label(log: LabelLog) -> None:
    log.add(label("a"))
    with pytest.raises(LabelConflict, match="exists already"):
        log.undo(2, "ada", "a")
    with pytest.raises(StoreError, match="episode 2 has no label to undo"):
        log.undo(2, "ada", "u")


@pytest.mark.parametrize("table", ["labels", "events"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET author = 'eve'", "DELETE FROM {}", "REPLACE INTO {} SELECT * FROM {}"]
)
def test_no_row_can_be_changed_or_deleted(log: LabelLog, table: str, statement: str) -> None:
    log.add(label("a"))
    log.record("arm", "ada", {})
    other = sqlite3.connect(log.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(statement.format(table, table))
    other.close()
    assert log.current()[1].label.author == "ada"
    assert log.events()[0].author == "ada"


def test_it_is_durable_and_in_wal_mode(log: LabelLog) -> None:
    log.add(label("a"))
    assert log._sqlite.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log._sqlite.execute("PRAGMA synchronous").fetchone() == (2,)


def test_audit_events_come_in_order_after_a_cursor(log: LabelLog) -> None:
    first = log.record("arm", "ada", {"state": "PAUSED"})
    second = log.record("stop", "bob", {"epoch": 2, "why": None})
    assert log.events() == [first, second]
    assert log.events(after=first.seq) == [second]
    assert second.detail == {"epoch": 2, "why": None}
    with pytest.raises(StoreError, match="audit event 'x': expected what JSON can hold"):
        log.record("x", "ada", {"n": float("nan")})


@pytest.mark.parametrize(
    "bad",
    [label("a", episode=2**70), label("a\ud800"), replace(label("a"), author=None)],  # type: ignore[arg-type]
)
def test_what_sqlite_cannot_hold_is_a_typed_error(log: LabelLog, bad: Label) -> None:
    with pytest.raises(StoreError, match="nothing was appended"):
        log.add(bad)
    assert log.add(label("b")).seq == 1


def test_a_full_disk_is_a_disk_error_and_the_same_label_is_taken_when_there_is_space(log: LabelLog) -> None:
    pages = log._sqlite.execute("PRAGMA page_count").fetchone()[0]
    log._sqlite.execute(f"PRAGMA max_page_count = {pages}")
    stored: list[LabelEvent] = []
    with pytest.raises(DiskError, match="full; nothing was appended"):  # noqa: PT012
        while True:
            stored.append(log.add(Label(f"id-{len(stored)}", 1, LabelValue.SUCCESS, "ada")))
    assert [event.seq for event in log.history(1)] == [event.seq for event in stored]
    log._sqlite.execute(f"PRAGMA max_page_count = {pages + 100}")
    again = log.add(Label(f"id-{len(stored)}", 1, LabelValue.SUCCESS, "ada"))
    assert log.history(1) == [*stored, again]


def test_a_closed_log_says_so(log: LabelLog) -> None:
    log.close()
    with pytest.raises(StoreError, match="closed"):
        log.add(label("a"))


def test_a_foreign_or_newer_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(IntegrityError, match="not a database"):
        LabelLog(path)
    path.unlink()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(IntegrityError, match="format 1, got 9"):
        LabelLog(path)
    with pytest.raises(StoreError, match="cannot open"):
        LabelLog(tmp_path / "nowhere" / "labels.sqlite")


def test_fifty_threads_and_two_connections_post_one_id(log: LabelLog) -> None:
    other = LabelLog(log.path)
    with ThreadPoolExecutor(50) as pool:
        events = list(pool.map(lambda n: (log, other)[n % 2].add(label("same")), range(50)))
    other.close()
    assert set(map(repr, events)) == {repr(events[0])}
    assert log.watermark() == 1


def test_processes_that_make_the_log_at_once_lose_nothing(tmp_path: Path) -> None:
    path, each = tmp_path / "labels.sqlite", 20
    code = """
import sys
from pathlib import Path
from robot_rl.store.labels import LabelLog
from robot_rl.types import Label, LabelValue
sys.stdin.readline()
log = LabelLog(Path(sys.argv[1]))
for n in range(int(sys.argv[3])):
    log.add(Label(f"{sys.argv[2]}-{n}", n, LabelValue.SUCCESS, sys.argv[2]))
    log.add(Label(f"shared-{n}", n, LabelValue.SUCCESS, "all"))
log.close()
"""
    arguments = [sys.executable, "-c", code, str(path)]
    processes = [subprocess.Popen([*arguments, f"p{n}", str(each)], stdin=subprocess.PIPE) for n in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=40)
        assert process.returncode == 0
    log = LabelLog(path)
    ids = [event.label.event_id for n in range(each) for event in log.history(n)]
    log.close()
    assert sorted(ids) == sorted(
        [f"p{p}-{n}" for p in range(4) for n in range(each)] + [f"shared-{n}" for n in range(each)]
    )


def test_an_acknowledged_label_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    code = """
import sys
from pathlib import Path
from robot_rl.store.labels import LabelLog
from robot_rl.types import Label, LabelValue
log = LabelLog(Path(sys.argv[1]))
n = 0
while True:
    print(log.add(Label(f"e{n}", n, LabelValue.FAILURE, "p")).seq, flush=True)
    n += 1
"""
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(30)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    log = LabelLog(path)
    kept: dict[int, LabelEvent] = log.current()
    log.close()
    assert {event.seq for event in kept.values()} >= set(acknowledged)
