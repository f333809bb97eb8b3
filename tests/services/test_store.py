import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import DeadlineMissed, DiskError, LabelConflict, NoSuchEpisode, StoreError
from robot_rl.services.store import StoreClient, serve_store
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, read_images, read_messages, read_transitions
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.store import Store
from robot_rl.types import Label, LabelValue, Transition

OUTCOME = EpisodeOutcome("success", 8, terminal=True, truncated=False, complete=True, verdicts={"pass": 8})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", RunInfo("lid", "usr", 0, "abc", "0.1"))


@pytest.fixture
def endpoint() -> Iterator[str]:
    with TemporaryDirectory() as folder:
        yield f"ipc://{folder}/store"


@contextmanager
def served(run: RunDirectory, endpoint: str) -> Iterator[Store]:
    store, stopping = Store(run), threading.Event()
    thread = threading.Thread(target=serve_store, args=(store, endpoint, stopping))
    thread.start()
    try:
        yield store
    finally:
        stopping.set()
        thread.join(5)
        store.close()


@pytest.fixture
def client(endpoint: str) -> Iterator[StoreClient]:
    client = StoreClient(endpoint, timeout_s=5.0)
    yield client
    client.close()


def header(episode: int) -> EpisodeHeader:
    return EpisodeHeader(episode, "lid", "usr", "flow", "abc", 0, 0, 1, "0.1")


def transition(episode: int, index: int = 0) -> Transition:
    rng = np.random.default_rng(index)
    chunk = rng.normal(size=(8, 4))
    features = rng.normal(size=11).astype(np.float32)
    noise, steer = chunk.astype(np.float32), features[:4]
    return Transition(episode, index, features, features, noise, steer, chunk, chunk, 8, 0.97, False, False)


def record_episode(client: StoreClient, episode: int) -> None:
    client.begin(header(episode))
    client.write("/robot", 1, {"q": [0.0, 1.5], "verdict": "pass"})
    client.write_image("front", 2, b"\xff\xd8jpeg")
    client.write_transition(transition(episode))
    client.end(OUTCOME)


def test_an_episode_is_recorded_as_by_the_store_itself(run: RunDirectory, endpoint: str, client: StoreClient) -> None:
    with served(run, endpoint):
        client.begin(header(1))
        client.write("/robot", 1, {"q": [0.0, 1.5]})
        client.write_image("front", 2, b"\xff\xd8jpeg")
        client.write_transition(transition(1))
        manifest = client.end(OUTCOME)
        assert (manifest.header, manifest.outcome) == (header(1), OUTCOME)
        assert sum(manifest.counts.values()) == 3
        assert [(e.episode, e.complete, e.label) for e in client.episodes()] == [(1, True, None)]
    folder = run.episode(1)
    assert read_messages(folder, "/robot")[0].body == {"q": [0.0, 1.5]}
    assert read_images(folder, "front")[0].jpeg == b"\xff\xd8jpeg"
    back, sent = read_transitions(folder)[0], transition(1)
    for name in ("features", "noise", "base_chunk"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sent, name), strict=True)


def test_labels_are_acknowledged_idempotent_and_conflicts_typed(
    run: RunDirectory, endpoint: str, client: StoreClient
) -> None:
    label = Label("id-1", 1, LabelValue.SUCCESS, "ann")
    with served(run, endpoint) as store:
        record_episode(client, 1)
        with ThreadPoolExecutor(8) as pool:
            events = list(pool.map(lambda _: client.add_label(label), range(50)))
        assert len(set(map(repr, events))) == 1
        with pytest.raises(LabelConflict, match="id-1"):
            client.add_label(Label("id-1", 1, LabelValue.FAILURE, "ann"))
        with pytest.raises(LabelConflict):
            client.add_label(Label("id-2", 1, LabelValue.FAILURE, "ann"), expected_revision=0)
        undone = client.undo_label(1, "ann", "id-3")
        assert undone.label.value is LabelValue.DISCARD
        assert client.episodes()[0].revision == undone.seq
        assert client.record("note", "ann", {"x": [1, None]}).detail == {"x": [1, None]}
        assert [event.kind for event in store.events()] == ["note"]
        with pytest.raises(NoSuchEpisode, match="there is none"):
            client.add_label(Label("id-9", 9, LabelValue.SUCCESS, "ann"))


def test_what_went_wrong_comes_out_of_a_later_call_and_the_episode_is_not_complete(
    run: RunDirectory, endpoint: str, client: StoreClient
) -> None:
    with served(run, endpoint):
        client.begin(header(1))
        client.write_transition(transition(7))
        with pytest.raises(StoreError, match="expected transition 0 of episode 1, got 0 of episode 7"):
            client.end(OUTCOME)
        assert [(e.episode, e.complete) for e in client.episodes()] == [(1, False)]
        record_episode(client, 2)
        assert [e.complete for e in client.episodes()] == [False, True]


def test_a_message_that_cannot_travel_is_refused_at_once(run: RunDirectory, endpoint: str, client: StoreClient) -> None:
    message: Any = {"q": np.zeros(3)}
    with served(run, endpoint):
        client.begin(header(1))
        with pytest.raises(StoreError, match="not recorded"):
            client.write("/robot", 1, message)
        assert client.end(OUTCOME).outcome.complete is False


def test_a_message_lost_on_the_way_makes_the_episode_incomplete(
    run: RunDirectory, endpoint: str, client: StoreClient
) -> None:
    with served(run, endpoint) as store:
        client.begin(header(1))
        client.write("/robot", 1, {"q": 1})
        client._sent += 1  # as after a connection that broke with a message in it
        assert client.end(OUTCOME).outcome.complete is False
        event = store.events()[0]
        assert (event.kind, event.detail) == ("messages_lost", {"episode": 1, "sent": 2, "recorded": 1})


def test_a_store_that_dies_and_comes_back_refuses_the_rest_of_the_episode(
    run: RunDirectory, endpoint: str, client: StoreClient
) -> None:
    with served(run, endpoint):
        client.begin(header(1))
        client.write("/robot", 1, {"q": 1})
    with served(run, endpoint):
        until_found_again(client)
        client.write("/robot", 2, {"q": 2})
        with pytest.raises(StoreError, match="no episode is open"):
            client.end(OUTCOME)
        record_episode(client, 1)
        assert [(e.episode, e.complete) for e in client.episodes()] == [(1, True)]


def until_found_again(client: StoreClient) -> None:
    """Requests that went down with the previous server are missed deadlines; ask until both lines have a new one."""
    for line in (client._recording, client._ledger):
        for _ in range(20):
            with suppress(DeadlineMissed):
                line.call("episodes", timeout_s=0.5)
                break


def test_recording_does_not_wait_for_the_disk(run: RunDirectory, endpoint: str, client: StoreClient) -> None:
    class SlowStore(Store):
        def write(self, topic: str, stamp_ns: int, message: Any) -> None:
            time.sleep(0.02)
            super().write(topic, stamp_ns, message)

    store, stopping = SlowStore(run), threading.Event()
    thread = threading.Thread(target=serve_store, args=(store, endpoint, stopping))
    thread.start()
    try:
        client.begin(header(1))
        began = time.monotonic()
        for n in range(20):
            client.write("/robot", n, {"n": n})
        assert time.monotonic() - began < 0.2
        assert client.end(OUTCOME).counts == {"/robot": 20}
    finally:
        stopping.set()
        thread.join(5)
        store.close()


def test_a_full_disk_comes_out_as_what_it_is(
    run: RunDirectory, endpoint: str, client: StoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(writer: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("robot_rl.store.episode.FLUSH_S", 0.0)
    with served(run, endpoint):
        client.begin(header(1))
        with monkeypatch.context() as patch:
            patch.setattr("robot_rl.store.episode.EpisodeWriter._flush", refuse)
            for number in range(5):  # all are on their way before the first answer is read
                client._recording.post("write", {"topic": "/robot", "stamp_ns": number, "message": {}})
            with pytest.raises(DiskError, match="No space left"):
                client.end(OUTCOME)
        client.reserve()
        record_episode(client, 1)
        assert [(e.episode, e.complete) for e in client.episodes()] == [(1, True)]


def test_no_store_is_a_missed_deadline(client: StoreClient) -> None:
    client.timeout_s = 0.1
    with pytest.raises(DeadlineMissed):
        client.add_label(Label("id-1", 1, LabelValue.SUCCESS, "ann"))
