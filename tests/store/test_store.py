from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from robot_rl.errors import DiskError, LabelConflict, NoSuchEpisode, StoreError
from robot_rl.store import episode as episode_module
from robot_rl.store import store as store_module
from robot_rl.store.episode import (
    MANIFEST_NAME,
    MCAP_NAME,
    EpisodeWriter,
    read_messages,
    read_transitions,
    salvage,
    verify,
)
from robot_rl.store.labels import LabelEvent
from robot_rl.store.reserve import RESERVE_BYTES
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store, StorePort
from robot_rl.types import Label, LabelValue
from tests.store.examples import SUCCESS, header, outcome, transition


@pytest.fixture
def store(run: RunDirectory) -> Iterator[Store]:
    store = Store(run)
    yield store
    store.close()


def record_one(store: StorePort, episode: int) -> None:
    store.begin(header(episode, adapter_version=episode // 2))
    store.write("/robot", 5, {"x": episode})
    store.write_image("front", 6, b"jpeg")
    store.write_transition(transition(episode, 0))
    store.end(SUCCESS)


def test_episodes_and_their_labels_are_listed(store: Store) -> None:
    for episode in (2, 1, 3):
        record_one(store, episode)
    event = store.add_label(Label("a", 2, LabelValue.FAILURE, "ada"), expected_revision=0)
    rows = store.episodes()
    assert [row.episode for row in rows] == [1, 2, 3]
    assert (rows[1].label, rows[1].author, rows[1].revision) == (LabelValue.FAILURE, "ada", event.seq)
    assert (rows[0].label, rows[0].author, rows[0].revision) == (None, None, 0)
    assert (rows[1].adapter_version, rows[1].steps, rows[1].ended_by, rows[1].complete) == (1, 12, "success", True)
    assert len(read_transitions(store.run.episode(2))) == 1


def test_a_correction_and_its_undo_show_in_the_list(store: Store) -> None:
    record_one(store, 1)
    first = store.add_label(Label("a", 1, LabelValue.FAILURE, "ada"))
    store.add_label(Label("b", 1, LabelValue.SUCCESS, "bob"), expected_revision=first.seq)
    assert store.episodes()[0].label is LabelValue.SUCCESS
    with pytest.raises(LabelConflict):
        store.add_label(Label("c", 1, LabelValue.DISCARD, "cy"), expected_revision=first.seq)
    store.undo_label(1, "bob", "u")
    assert (store.episodes()[0].label, store.episodes()[0].corrected) == (LabelValue.FAILURE, True)


@pytest.mark.parametrize("episode", [2, 0, -1, 10**4000])
def test_only_a_closed_episode_is_labelled(store: Store, episode: int) -> None:
    store.begin(header(2))
    with pytest.raises(NoSuchEpisode, match="expected a closed episode, and there is none"):
        store.add_label(Label("a", episode, LabelValue.SUCCESS, "ada"))


def test_writing_needs_an_open_episode(store: Store) -> None:
    for attempt in (lambda: store.write("/x", 1, {}), lambda: store.end(SUCCESS)):
        with pytest.raises(StoreError, match="no episode is open: expected `begin` first"):
            attempt()
    record_one(store, 1)
    with pytest.raises(StoreError, match="no episode is open"):
        store.write_image("front", 1, b"")


def test_begin_abandons_what_is_open(store: Store) -> None:
    store.begin(header(1))
    store.write("/robot", 1, {"x": 1})
    record_one(store, 1)
    assert [path.name for path in store.list_incomplete()] == ["000001.incomplete.1"]
    assert [row.episode for row in store.episodes()] == [1]
    assert [(event.kind, event.detail["episode"]) for event in store.events()] == [("episode_abandoned", 1)]


def test_begin_refuses_a_number_that_is_taken_and_recovers(store: Store) -> None:
    record_one(store, 1)
    with pytest.raises(StoreError, match="recorded already"):
        store.begin(header(1))
    record_one(store, 2)
    assert [row.episode for row in store.episodes()] == [1, 2]


def test_a_disk_that_refuses_once_costs_one_episode(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    record_one(store, 1)
    with monkeypatch.context() as patch:
        patch.setattr(episode_module, "sync_file", _refuse)
        with pytest.raises(StoreError, match="No space left"):
            record_one(store, 2)
    record_one(store, 2)
    assert [row.episode for row in store.episodes()] == [1, 2]
    assert len(store.list_incomplete()) == 1


def test_a_sync_that_fails_after_the_rename_does_not_stop_the_next_episode(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(episode_module, "sync_directory", _refuse)
        with pytest.raises(StoreError, match="No space left"):
            record_one(store, 1)
    record_one(store, 2)
    assert [row.episode for row in store.episodes()] == [1, 2]


def _refuse(_: object) -> None:
    raise OSError(28, "No space left on device")


def test_no_episode_begins_without_a_reserve_and_none_is_left_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_one(store, 1)
    assert store.run.reserve.stat().st_size == RESERVE_BYTES
    store.run.reserve.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(store._reserve, "_size", 2**62)
        for ask in (store.reserve, lambda: store.begin(header(2))):
            with pytest.raises(DiskError, match="the disk is full"):
                ask()
        assert not store.run.partial_episodes()
    record_one(store, 2)
    store.close()
    assert not store.run.reserve.exists()


def test_what_a_refusing_disk_cut_off_is_set_aside_at_once_and_the_reserve_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episode_module, "FLUSH_S", 0.0)
    store.begin(header(1))
    store.write("/robot", 1, {"x": 1})
    with monkeypatch.context() as patch:
        patch.setattr(EpisodeWriter, "_flush", _refuse)
        with pytest.raises(DiskError, match="No space left"):
            store.write("/robot", 2, {"x": 2})
    (kept,) = store.list_incomplete()
    assert salvage(kept / MCAP_NAME, "/robot")[0][0] == (1, {"x": 1})
    assert [event.kind for event in store.events()] == ["episode_abandoned"]
    assert not store.run.reserve.exists()
    with pytest.raises(DiskError, match="No space left"):  # whoever else records into it is to hear of it too
        store.write("/robot", 3, {"x": 3})


def test_a_label_that_finds_no_other_space_goes_into_the_reserve(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    record_one(store, 1)
    add = store._log.add

    def full_while_reserved(label: Label, expected_revision: int | None = None) -> LabelEvent:
        if store.run.reserve.exists():
            raise DiskError("database or disk is full")
        return add(label, expected_revision)

    monkeypatch.setattr(store._log, "add", full_while_reserved)
    label = Label("a", 1, LabelValue.SUCCESS, "ada")
    assert store.add_label(label) == store.add_label(label)
    assert store.episodes()[0].label is LabelValue.SUCCESS


def test_a_second_store_is_refused_and_readers_are_not(store: Store) -> None:
    record_one(store, 1)
    with pytest.raises(StoreError, match="open in another process"):
        Store(store.run)
    code = "import sys; from robot_rl.store.run import RunDirectory; from robot_rl.store.store import Store; "
    code += "Store(RunDirectory.open(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", code, store.run.path], capture_output=True, text=True, timeout=30)
    assert "is open in another process" in other.stderr
    assert read_messages(store.run.episode(1), "/robot") == [(5, {"x": 1})]
    store.close()
    store.close()
    Store(store.run).close()


def test_closing_keeps_the_open_episode_as_incomplete(run: RunDirectory) -> None:
    store = Store(run)
    store.begin(header(1))
    store.close()
    assert [path.name for path in run.incomplete_paths()] == ["000001.incomplete.1"]
    assert run.partial_episodes() == []


def test_what_a_killed_process_left_is_set_aside_and_the_lock_is_free(run: RunDirectory) -> None:
    code = """
import sys, time
from robot_rl.store import episode
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from tests.store.examples import header
episode.FLUSH_S = 0.0
store = Store(RunDirectory.open(sys.argv[1]))
store.begin(header(1))
store.write("/robot", 1, {"x": 1})
print("written", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, run.path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.kill()
    store = Store(run)
    (kept,) = store.list_incomplete()
    assert salvage(kept / MCAP_NAME, "/robot") == ([(1, {"x": 1})], False)
    assert [event.kind for event in store.events()] == ["episode_incomplete"]
    record_one(store, 1)
    assert [row.episode for row in store.episodes()] == [1]
    store.close()


def test_an_episode_sealed_before_the_kill_is_published(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EpisodeWriter(run, header(4))
    writer.write("/robot", 1, {"x": 4})
    with monkeypatch.context() as patch:
        patch.setattr(episode_module, "publish", lambda *_: None)
        writer.close(SUCCESS)
    store = Store(run)
    assert [row.episode for row in store.episodes()] == [4]
    assert read_messages(run.episode(4), "/robot") == [(1, {"x": 4})]
    assert [event.kind for event in store.events()] == ["episode_published"]
    store.close()


def test_a_sealed_episode_with_other_bytes_is_set_aside(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EpisodeWriter(run, header(4))
    with monkeypatch.context() as patch:
        patch.setattr(episode_module, "publish", lambda *_: None)
        writer.close(SUCCESS)
    with (run.partial(4) / MCAP_NAME).open("ab") as file:
        file.write(b"x")
    store = Store(run)
    assert store.episodes() == []
    assert len(store.list_incomplete()) == 1
    store.close()


def test_a_damaged_manifest_is_reported_and_costs_its_episode_only(run: RunDirectory) -> None:
    store = Store(run)
    for episode in (1, 2):
        record_one(store, episode)
    store.close()
    _damage(run.episode(1) / MANIFEST_NAME)
    store = Store(run)
    assert [row.episode for row in store.episodes()] == [2]
    (event,) = store.events()
    assert (event.kind, event.detail["episode"]) == ("episode_unreadable", 1)
    store.close()


def test_a_missing_manifest_costs_its_episode_only(run: RunDirectory) -> None:
    store = Store(run)
    for episode in (1, 2):
        record_one(store, episode)
    store.close()
    (run.episode(1) / MANIFEST_NAME).unlink()
    store = Store(run)
    assert [row.episode for row in store.episodes()] == [2]
    store.close()


def test_a_label_log_that_is_gone_is_not_begun_anew_without_a_word(run: RunDirectory) -> None:
    store = Store(run)
    record_one(store, 1)
    store.close()
    for path in run.path.glob("labels.sqlite*"):
        path.unlink()
    with pytest.raises(StoreError, match="label log of 1 closed episodes, and it is gone; put it back"):
        Store(run)
    assert not run.labels.exists()
    run.labels.touch()  # as the error says, for a person who means it
    Store(run).close()


def _damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"success"', b'"failure"', 1))


def test_an_outcome_that_is_not_complete_is_listed_as_such(store: Store) -> None:
    store.begin(header(1))
    store.end(outcome("aborted", complete=False))
    assert [(row.complete, row.ended_by) for row in store.episodes()] == [(False, "aborted")]


# --- episodes that another process has recorded ---------------------------------------------------------------------


def staged(tmp_path: Path, episode: int = 1, spec_hash: str = "ab" * 32) -> Path:
    """Where another process has closed an episode."""
    elsewhere = RunDirectory(tmp_path / "staged" / "worker")
    elsewhere.episodes.mkdir(parents=True, exist_ok=True)
    writer = EpisodeWriter(elsewhere, replace(header(episode), spec_hash=spec_hash))
    writer.write_transition(transition(episode, 0))
    writer.close(SUCCESS)
    return elsewhere.episode(episode)


def test_an_episode_that_another_process_closed_becomes_the_runs(store: Store, tmp_path: Path) -> None:
    folder = staged(tmp_path, 4)
    manifest = store.adopt(folder)
    assert manifest == verify(store.run.episode(4))
    assert len(read_transitions(store.run.episode(4))) == 1
    assert not folder.exists()
    store.add_label(Label("a", 4, LabelValue.SUCCESS, "ada"))
    assert [(row.episode, row.label) for row in store.episodes()] == [(4, LabelValue.SUCCESS)]


@pytest.mark.parametrize("what", ["damaged", "taken", "foreign"])
def test_one_that_cannot_be_the_runs_stays_where_it_is(store: Store, tmp_path: Path, what: str) -> None:
    folder = staged(tmp_path, spec_hash="cd" * 32 if what == "foreign" else "ab" * 32)
    if what == "damaged":
        (folder / MCAP_NAME).write_bytes(b"cut")
    elif what == "taken":
        record_one(store, 1)
    words = {"damaged": "expected .* bytes", "taken": "recorded already", "foreign": "recorded with policy spec"}
    with pytest.raises(StoreError, match=words[what]):
        store.adopt(folder)
    assert folder.is_dir()
    assert store.run.closed_episodes() == ([1] if what == "taken" else [])


def test_a_disk_that_refuses_leaves_it_where_it_is(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = staged(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(store_module.os, "rename", refuse)
        with pytest.raises(DiskError, match=r"cannot take over .* No space left on device; it stays there"):
            store.adopt(folder)
    assert store.adopt(folder).header.episode == 1


def refuse(*paths: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
