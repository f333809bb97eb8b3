"""What the actor records reaches the store; a scratch store keeps outcomes and nothing on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_rl.compositions.recording import Scratch, StoreRecorder
from robot_rl.control.ports import EpisodeRecord, LabelBook, Recorder
from robot_rl.store.episode import read_manifest, read_messages, read_transitions
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.store import Store
from robot_rl.types import Label, LabelValue
from tests.store.examples import transition

INFO = RunInfo("lid_opening", "usr", 3, "ab" * 32, "0.1.0")
RECORD = EpisodeRecord("success", 12, 2, True, False, True, {"pass": 11, "clipped": 1})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(RunDirectory.create(tmp_path / "run", INFO))
    yield made
    made.close()


def record_one(recorder: Recorder, episode: int = 4) -> None:
    recorder.begin(episode, adapter_version=2)
    recorder.write("/steps", 1_000, {"step": 0})
    for index in range(2):
        recorder.write_transition(transition(episode, index))
    recorder.end(RECORD)


def test_an_episode_is_stored_with_its_runs_names_and_how_it_ended(store: Store) -> None:
    record_one(StoreRecorder(store, INFO, "flow-1234"))
    manifest = read_manifest(store.run.episode(4))
    header, outcome = manifest.header, manifest.outcome
    assert (header.episode, header.adapter_version, header.policy_id) == (4, 2, "flow-1234")
    assert (header.task, header.method, header.seed, header.spec_hash) == ("lid_opening", "usr", 3, INFO.spec_hash)
    assert header.code_version == "0.1.0"
    assert header.started_wall_ns > INFO.created_wall_ns - 10**12
    assert (outcome.ended_by, outcome.steps, outcome.terminal, outcome.truncated) == ("success", 12, True, False)
    assert outcome.complete
    assert outcome.verdicts == {"pass": 11, "clipped": 1}


def test_messages_and_transitions_are_in_it(store: Store) -> None:
    record_one(StoreRecorder(store, INFO, "flow-1234"))
    folder = store.run.episode(4)
    assert [(message.stamp_ns, message.body["step"]) for message in read_messages(folder, "/steps")] == [(1_000, 0)]
    stored = read_transitions(folder)
    assert [(t.episode, t.index) for t in stored] == [(4, 0), (4, 1)]
    assert stored[0].executed_chunk.tobytes() == transition(4, 0).executed_chunk.tobytes()


def test_an_incomplete_episode_says_so(store: Store) -> None:
    recorder = StoreRecorder(store, INFO, "flow-1234")
    recorder.begin(1, 0)
    recorder.end(EpisodeRecord("aborted", 3, 0, False, False, False, {}))
    outcome = read_manifest(store.run.episode(1)).outcome
    assert (outcome.ended_by, outcome.complete) == ("aborted", False)


def test_a_camera_without_a_frame_is_said_once_and_as_long_as_it_lasts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(RunDirectory.create(tmp_path / "run", INFO), ("front", "side"))
    recorder = StoreRecorder(store, INFO, "flow-1234", ("front", "side"))
    for episode in (1, 2):
        recorder.begin(episode, 0)
        for stamp in (0, 3_200_000_000):
            recorder.write("/steps", stamp, {"step": 0})
            store.write_image("side", stamp, b"jpeg")
        recorder.end(RECORD)
        (words,) = recorder.notices
        assert words.startswith(f"episode {episode} has no frame of front in 3.2 s")
    recorder.begin(3, 0)
    for camera in ("front", "side"):
        store.write_image(camera, 1, b"jpeg")
    recorder.end(RECORD)
    store.close()
    assert recorder.notices == []
    assert [record.message[:9] for record in caplog.records] == ["episode 1"]


def test_where_no_camera_is_recorded_none_is_missed(store: Store) -> None:
    recorder = StoreRecorder(store, INFO, "flow-1234", ("front",))
    record_one(recorder)
    assert recorder.notices == []


# --- scratch --------------------------------------------------------------------------------------------------------


def test_scratch_lists_how_its_trials_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scratch = Scratch()
    for episode in (1, 2):
        record_one(scratch, episode)
    rows = scratch.episodes()
    assert [(row.episode, row.adapter_version, row.steps, row.ended_by, row.complete) for row in rows] == [
        (1, 2, 12, "success", True),
        (2, 2, 12, "success", True),
    ]
    assert not list(tmp_path.iterdir())


def test_scratch_keeps_the_newest_label() -> None:
    scratch = Scratch()
    first = scratch.add_label(Label("a", 1, LabelValue.SUCCESS, "auto"))
    second = scratch.add_label(Label("b", 2, LabelValue.FAILURE, "auto"))
    assert second.seq > first.seq
    scratch.add_label(Label("c", 1, LabelValue.FAILURE, "auto"))
    assert {episode: event.label.value for episode, event in scratch.labels.items()} == {
        1: LabelValue.FAILURE,
        2: LabelValue.FAILURE,
    }
    scratch.record("stop", "auto", {})


def test_scratch_is_what_the_actor_needs_of_a_store() -> None:
    book: LabelBook = Scratch()
    assert isinstance(book, Scratch)
    recorder: Recorder = book
    record_one(recorder)
    assert [row.episode for row in book.episodes()] == [4]
