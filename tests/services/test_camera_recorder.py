"""Frames go into the episode of their time, and a frame that is missing is said to be."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from robot_rl.errors import DiskError
from robot_rl.services.camera_recorder import LOST, CameraRecorder
from robot_rl.services.store import StoreClient, serve_store
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, read_images, read_manifest, read_messages
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.store import Store
from robot_rl.wire.latest import Publisher
from tests.faults.disk import Disk, failing

OUTCOME = EpisodeOutcome("success", 8, terminal=True, truncated=False, complete=True, verdicts={"pass": 8})


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:  # a socket's path must be short
        yield Path(name)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", RunInfo("lid", "usr", 0, "abc", "0.1"))


@pytest.fixture
def camera(folder: Path) -> Iterator[Publisher]:
    publisher = Publisher(f"ipc://{folder}/frames")
    yield publisher
    publisher.close()


@pytest.fixture
def store(run: RunDirectory) -> Iterator[Store]:
    store = Store(run)
    yield store
    store.close()


@pytest.fixture
def recorder(store: Store, camera: Publisher) -> Iterator[CameraRecorder]:
    recorder = CameraRecorder(store, camera.endpoint)
    until(lambda: send(camera, "hello", 0) or any(recorder._frames.take(20)))  # the subscription stands
    yield recorder
    recorder.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def send(camera: Publisher, name: str, number: int) -> bool:
    camera.publish(name, {"frame": number, "stamp_ns": 1_000 + number, "seq": 0}, b"jpeg %d" % number)
    return False


def settle(recorder: CameraRecorder) -> None:
    """Everything sent so far has been taken."""
    time.sleep(0.1)
    recorder.take()


def header(episode: int) -> EpisodeHeader:
    return EpisodeHeader(episode, "lid", "usr", "flow", "abc", 0, 0, 1, "0.1")


def test_an_episode_has_the_frames_of_its_own_time(
    recorder: CameraRecorder, store: Store, camera: Publisher, run: RunDirectory
) -> None:
    send(camera, "front", 0)
    settle(recorder)
    store.begin(header(1))
    for number in (1, 2):
        send(camera, "front", number)
        send(camera, "side", number)
    settle(recorder)
    store.end(OUTCOME)
    send(camera, "front", 3)
    settle(recorder)
    for name in ("front", "side"):
        assert [(image.stamp_ns, image.jpeg) for image in read_images(run.episode(1), name)] == [
            (1_001, b"jpeg 1"),
            (1_002, b"jpeg 2"),
        ]
    assert LOST not in read_manifest(run.episode(1)).counts


def test_a_frame_that_never_came_is_counted(
    recorder: CameraRecorder, store: Store, camera: Publisher, run: RunDirectory
) -> None:
    store.begin(header(1))
    for number in (7, 8, 12, 0, 1):  # three are missing; then the camera's process began anew
        send(camera, "front", number)
    settle(recorder)
    store.end(OUTCOME)
    lost = read_messages(run.episode(1), LOST)
    assert [message.body for message in lost] == [{"camera": "front", "frames": 3}]
    assert read_manifest(run.episode(1)).counts["/camera/front"] == 5


def test_what_is_no_frame_is_let_go(
    recorder: CameraRecorder, store: Store, camera: Publisher, run: RunDirectory
) -> None:
    store.begin(header(1))
    for strange in ({}, {"frame": "1", "stamp_ns": 1}, {"frame": 1, "stamp_ns": -5}, {"frame": True, "stamp_ns": 1}):
        camera.publish("front", strange, b"x")
    send(camera, "front", 2)
    settle(recorder)
    store.end(OUTCOME)
    assert [image.jpeg for image in read_images(run.episode(1), "front")] == [b"jpeg 2"]


def test_frames_that_wait_when_an_episode_ends_are_in_it(store: Store, camera: Publisher, folder: Path) -> None:
    recorder, stopping = CameraRecorder(store, camera.endpoint), threading.Event()
    until(lambda: send(camera, "hello", 0) or any(recorder._frames.take(20)))
    served = threading.Thread(target=serve_store, args=(store, f"ipc://{folder}/store", stopping, recorder.take))
    served.start()
    client = StoreClient(f"ipc://{folder}/store", timeout_s=5.0)
    try:
        client.begin(header(1))
        for number in range(20):
            send(camera, "front", number)
        time.sleep(0.02)  # they are there, and the server may be waiting for a request
        client.end(OUTCOME)
    finally:
        stopping.set()
        served.join(5)
        client.close()
        recorder.close()
    assert len(read_images(store.run.episode(1), "front")) == 20


def test_a_disk_that_refuses_a_frame_is_heard_of_by_whoever_writes_next(
    recorder: CameraRecorder, store: Store, camera: Publisher
) -> None:
    disk = Disk(store.run.path, lasts=1_000)
    with failing(disk):
        store.begin(header(1))
        disk.nth = disk.done + 1
        numbers = itertools.count()

        def lost() -> bool:
            camera.publish("front", {"frame": next(numbers), "stamp_ns": 1}, os.urandom(20_000))
            recorder.take()
            return not store.recording

        until(lost)
    with pytest.raises(DiskError):
        store.write("/proprioception", 1, {"q": 0.0})
    store.begin(header(1))
    store.write("/proprioception", 1, {"q": 0.0})
