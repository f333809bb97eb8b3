from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.adapters.files import write_weights
from robot_rl.clock import SECOND
from robot_rl.errors import IntegrityError
from robot_rl.store.check import Finding, check_episodes, check_labels, check_numbers, clock_anomalies
from robot_rl.store.episode import MCAP_NAME, read_manifest, read_messages, write_manifest
from robot_rl.store.run import ADAPT, RunDirectory
from robot_rl.store.store import Store
from robot_rl.types import Label, LabelValue
from tests.store.examples import SUCCESS, header


@pytest.fixture
def store(run: RunDirectory) -> Iterator[Store]:
    store = Store(run)
    yield store
    store.close()


def add(store: Store, episode: int, stamps: list[int] | None = None, started_s: int = 0) -> None:
    store.begin(replace(header(episode), started_wall_ns=started_s * SECOND))
    for stamp in stamps if stamps is not None else [1, 2, 3]:
        store.write("/steps", stamp, {"x": episode})
    store.end(SUCCESS)


def findings(run: RunDirectory) -> list[Finding]:
    return [finding for found in check_episodes(run) for finding in found]


def test_a_sound_run_has_no_findings(store: Store) -> None:
    for episode in (1, 2):
        add(store, episode)
        store.add_label(Label(f"e{episode}", episode, LabelValue.SUCCESS, "ada"))
    assert findings(store.run) + check_numbers(store.run) + check_labels(store.run) == []


def test_damage_is_found_and_costs_no_other_episode_its_check(store: Store) -> None:
    for episode in (1, 2, 3):
        add(store, episode)
    os.truncate(store.run.episode(1) / MCAP_NAME, 50)
    (store.run.episode(2) / MCAP_NAME).unlink()
    first, second = findings(store.run)
    assert (first.where, second.where) == ("episode 1", "episode 2")
    assert "expected" in first.what
    assert "sha256" in first.what
    assert "cannot read" in second.what


def test_foreign_episodes_are_found(store: Store) -> None:
    add(store, 1)
    shutil.copytree(store.run.episode(1), store.run.episode(2))
    folder = store.run.episode(1)
    manifest = read_manifest(folder)
    write_manifest(
        folder, replace(manifest, header=replace(manifest.header, spec_hash="cd" * 32), counts={"/steps": 4})
    )
    words = [finding.what for finding in findings(store.run)]
    assert words[0].startswith("recorded with policy spec cdcdcdcdcdcd, the run's is abababababab")
    assert words[1] == "expected messages {'/steps': 4}, got {'/steps': 3}"
    assert words[2] == "its manifest is of episode 1; it is not used"


def test_gaps_and_labels_of_nothing_are_found(store: Store) -> None:
    for episode in (1, 2, 3, 4):
        add(store, episode)
    store.add_label(Label("a", 2, LabelValue.FAILURE, "ada"))
    for episode in (2, 3):
        shutil.rmtree(store.run.episode(episode))
    assert [finding.where for finding in check_numbers(store.run)] == ["episode 2", "episode 3"]
    assert check_labels(store.run) == [Finding("episode 2", "labelled failure by ada, and is not there")]


def test_a_label_log_that_is_gone_or_damaged_is_found(store: Store) -> None:
    add(store, 1)
    store.close()
    for path in store.run.path.glob("labels.sqlite*"):
        path.unlink()
    assert check_labels(store.run) == [Finding("labels.sqlite", "the label log of 1 episodes is gone")]
    assert not store.run.labels.exists()
    store.run.labels.write_bytes(b"no database at all" * 100)
    assert "not a database" in check_labels(store.run)[0].what


def words(run: RunDirectory) -> str:
    return " / ".join(f"{where}: {what}" for where, what in check_labels(run))


def test_labels_that_vanished_are_found_by_what_was_learnt_from_them(store: Store) -> None:
    """A log that was emptied, one of yesterday, a WAL that was removed after a kill: each is sound by itself."""
    run = store.run
    for episode in (1, 2, 3):
        add(store, episode)
        store.add_label(Label(f"e{episode}", episode, LabelValue.SUCCESS, "ada"))
        if episode == 2:
            yesterdays = run.path / "yesterdays"
            sqlite = sqlite3.connect(run.labels)
            sqlite.execute(f"VACUUM INTO '{yesterdays}'")
            sqlite.close()
    store.close()
    write_weights(run.adapters, 3, {"w": np.zeros(1)}, {"label_watermark": 3})
    assert check_labels(run) == []
    shutil.copyfile(yesterdays, run.labels)
    assert "its newest event is number 2, and adapters/000003.json was trained on labels up to number 3" in words(run)
    run.labels.write_bytes(b"")
    assert "nothing is in it, and 3 episodes are closed" in words(run)
    assert run.labels.stat().st_size == 0


def test_another_runs_labels_are_found_and_not_added_to(store: Store, tmp_path: Path) -> None:
    run = store.run
    other = Store(RunDirectory.create(tmp_path / "other", replace(run.read_info(), seed=4)))
    for each in (store, other):
        add(each, 1)
        each.add_label(Label("e1", 1, LabelValue.SUCCESS, "ada"))
        each.close()
    shutil.copyfile(other.run.labels, run.labels)
    assert words(run) == "labels.sqlite: is the label log of another run"
    with pytest.raises(IntegrityError, match="another run"):
        Store(run)


def test_a_row_that_was_removed_is_found(store: Store) -> None:
    add(store, 1)
    for value in (LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.SUCCESS):
        store.add_label(Label(f"e{value.value}{store.events()}", 1, value, "ada"))
        store.record("labelled", "ada", {})
    store.close()
    sqlite = sqlite3.connect(store.run.labels)
    sqlite.executescript("DROP TRIGGER labels_delete; DELETE FROM labels WHERE seq = 2")
    sqlite.close()
    assert "1 of 3 labels are missing, the first is number 2" in words(store.run)


def test_the_clock_is_looked_at_within_an_episode_and_between_two(store: Store) -> None:
    add(store, 1, [5, 9, 7, 8, 6], started_s=7200)
    add(store, 2, started_s=3600)
    assert [tuple(finding) for finding in findings(store.run)] == [
        ("episode 1", "/steps: 2 stamps go back, the first at message 2 by 0.000 s"),
        ("episode 2", "the date goes back by 3600 s against episode 1"),
    ]


def test_episodes_that_many_play_at_once_need_not_begin_in_the_order_of_their_numbers(
    run: RunDirectory, tmp_path: Path
) -> None:
    """One that was lost is played again, by a worker that has to start first."""
    info = replace(run.read_info(), arguments={ADAPT: {"workers": 2, "ranges": {}}})
    store = Store(RunDirectory.create(tmp_path / "adapt", info))
    add(store, 1, started_s=7200)
    add(store, 2, started_s=3600)
    store.close()
    assert findings(store.run) == []


def test_a_stream_that_fell_silent_is_found_and_a_rare_topic_is_not() -> None:
    tick = SECOND // 20
    stream = [n * tick for n in range(20)] + [19 * tick + 3 * SECOND + n * tick for n in range(20)]
    assert clock_anomalies(stream) == ["silent for 3.0 s after message 19"]
    assert clock_anomalies([n * 2 * SECOND for n in range(5)]) == []
    assert clock_anomalies([1, 1, 2]) == []
    assert clock_anomalies([]) == clock_anomalies([3]) == []


def test_a_camera_that_gave_nothing_came_late_or_stopped_is_found(run: RunDirectory) -> None:
    store = Store(run, ("front", "side", "wrist", "top"))
    frames = {"side": range(15, 40), "wrist": range(10), "top": range(2, 40)}
    store.begin(header(1))
    for tick in range(40):
        stamp = tick * SECOND // 10
        store.write("/steps", stamp, {"n": tick})
        for camera in (name for name, ticks in frames.items() if tick in ticks):
            store.write_image(camera, stamp, b"jpeg")
    manifest = store.end(SUCCESS)
    store.close()
    assert (manifest.counts["/cameras"], manifest.last_stamp_ns) == (1, 39 * SECOND // 10)
    (counted,) = read_messages(run.episode(1), "/cameras")
    assert counted.body == {"front": 0, "side": 25, "wrist": 10, "top": 38}
    assert [finding.what for finding in findings(run)] == [
        "camera front: 0 frames in 3.9 s",
        "camera side: its first frame is of 1.5 s after the start",
        "camera wrist: its last frame is of 3.0 s before the end",
    ]
