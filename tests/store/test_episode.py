from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.records import Chunk, Schema
from mcap.stream_reader import StreamReader

from robot_rl.clock import SECOND
from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store import episode as module
from robot_rl.store.episode import (
    FLUSH_S,
    MANIFEST_NAME,
    MCAP_NAME,
    EpisodeWriter,
    read_images,
    read_manifest,
    read_messages,
    read_transitions,
    salvage,
)
from robot_rl.store.ros import read_image
from robot_rl.store.run import RunDirectory
from tests.store.examples import SUCCESS, header, transition
from tests.store.test_transitions import assert_same_bits

JPEG = b"\xff\xd8\xff\xe0 not really \xff\xd9"


def record_one(run: RunDirectory, number: int = 1) -> None:
    writer = EpisodeWriter(run, header(number))
    writer.write("/robot", 100, {"q": [0.1, 0.2], "mode": "ok"})
    writer.write_image("front", 110, JPEG)
    writer.write_transition(transition(number, 0))
    writer.write("/robot", 150, {"q": [0.3, float("nan")], "mode": "ok"})
    writer.write_transition(transition(number, 1))
    writer.close(SUCCESS)


def test_what_was_written_is_read_back(run: RunDirectory) -> None:
    record_one(run)
    folder = run.episode(1)
    assert read_messages(folder, "/robot") == [
        (100, {"q": [0.1, 0.2], "mode": "ok"}),
        (150, {"q": [0.3, "NaN"], "mode": "ok"}),
    ]
    assert read_messages(folder, "/nothing") == []
    assert read_images(folder, "front") == [(110, JPEG)]
    for index, got in enumerate(read_transitions(folder)):
        assert_same_bits(got, transition(1, index))


def test_the_manifest_says_what_there_is(run: RunDirectory) -> None:
    record_one(run)
    manifest = read_manifest(run.episode(1))
    assert manifest.header == header(1)
    assert manifest.outcome == SUCCESS
    assert manifest.counts == {"/robot": 2, "/camera/front": 1, "/transitions": 2}
    assert (manifest.first_stamp_ns, manifest.last_stamp_ns) == (100, 150)


def test_foxglove_finds_an_indexed_file_with_schemas(run: RunDirectory) -> None:
    record_one(run)
    with (run.episode(1) / MCAP_NAME).open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        rows = list(reader.iter_messages(["/camera/front", "/robot"]))
        metadata = {item.name: item.metadata for item in reader.iter_metadata()}
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == 5
    assert metadata["robot_rl.episode"]["adapter_version"] == "4"
    schemas: dict[str, Schema] = {channel.topic: schema for schema, channel, _ in rows if schema is not None}
    assert {schema.encoding for schema in schemas.values()} == {"ros2msg"}
    assert schemas["/camera/front"].name == "sensor_msgs/msg/CompressedImage"
    assert schemas["/robot"].name == "std_msgs/msg/String"
    image = next(message.data for _, channel, message in rows if channel.topic == "/camera/front")
    assert read_image(image) == {"frame_id": "front", "format": "jpeg", "data": JPEG}


def test_of_every_step_the_standard_streams_are_recorded(run: RunDirectory) -> None:
    writer = EpisodeWriter(run, header(1))
    step = {"q": [0.5, -1.25], "tcp_pose": [0.1, 0.2, 0.3, 1, 0, 0, 0.25], "gripper_width": 0.08, "sent": [0.01, 0]}
    writer.write("/steps", 5, {**step, "verdict": "pass"})
    writer.write("/steps", 6, {"verdict": "held", "q": ["NaN"], "sent": []})
    for topic in ("/command", "/camera/front"):
        with pytest.raises(StoreError, match="which `write` does not write"):
            writer.write(topic, 7, {})
    manifest = writer.close(SUCCESS)
    streams = {"/joint_states": 1, "/tcp_pose": 1, "/gripper_width": 1, "/command": 1}
    assert manifest.counts == {"/steps": 2, **streams}


def test_an_open_episode_is_not_among_the_closed_ones(run: RunDirectory) -> None:
    writer = EpisodeWriter(run, header(1))
    assert run.closed_episodes() == []
    assert run.partial_episodes() == [1]
    writer.close(SUCCESS)
    assert run.closed_episodes() == [1]
    assert run.partial_episodes() == []


def test_a_number_is_used_once(run: RunDirectory) -> None:
    record_one(run)
    with pytest.raises(StoreError, match="episode 1 is recorded already"):
        EpisodeWriter(run, header(1))


def test_abandoned_bytes_are_kept_and_the_number_is_free(run: RunDirectory) -> None:
    for attempt in (1, 2):
        writer = EpisodeWriter(run, header(1))
        writer.write("/robot", attempt, {"x": attempt})
        kept = writer.abandon()
        assert salvage(kept / MCAP_NAME, "/robot") == ([(attempt, {"x": attempt})], True)
        with pytest.raises(StoreError, match="was abandoned"):
            writer.write("/robot", 3, {})
    assert len(run.incomplete_paths()) == 2
    record_one(run)
    assert run.closed_episodes() == [1]


def test_nothing_is_written_after_close(run: RunDirectory) -> None:
    writer = EpisodeWriter(run, header(1))
    writer.close(SUCCESS)
    with pytest.raises(StoreError, match="is closed"):
        writer.write("/robot", 3, {})


@pytest.mark.parametrize(("number", "index"), [(2, 0), (1, 1)])
def test_a_transition_of_elsewhere_is_refused(run: RunDirectory, number: int, index: int) -> None:
    writer = EpisodeWriter(run, header(1))
    with pytest.raises(StoreError, match="expected transition 0 of episode 1"):
        writer.write_transition(transition(number, index))
    writer.abandon()


def test_bad_input_is_refused_and_the_episode_goes_on(run: RunDirectory) -> None:
    writer = EpisodeWriter(run, header(1))
    with pytest.raises(StoreError, match="expected what JSON can hold"):
        writer.write("/robot", 1, {"x": object()})  # type: ignore[dict-item]
    with pytest.raises(StoreError, match="expected a stamp in monotonic ns, got -1"):
        writer.write("/robot", -1, {"x": 1})
    writer.write("/robot", 1, {"x": 2})
    writer.close(SUCCESS)
    assert read_messages(run.episode(1), "/robot") == [(1, {"x": 2})]


def test_every_flipped_bit_and_every_cut_of_the_recording_is_refused(run: RunDirectory) -> None:
    record_one(run)
    path = run.episode(1) / MCAP_NAME
    whole = path.read_bytes()
    for offset in range(0, len(whole), 97):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 4]) + whole[offset + 1 :])
        with pytest.raises(IntegrityError, match="sha256"):
            read_transitions(run.episode(1))
        path.write_bytes(whole[:offset])
        with pytest.raises(IntegrityError, match=r"expected \d+ bytes"):
            read_transitions(run.episode(1))
    path.unlink()
    with pytest.raises(StoreError, match="cannot read"):
        read_transitions(run.episode(1))


def test_every_flipped_bit_of_the_manifest_is_refused(run: RunDirectory) -> None:
    record_one(run)
    path = run.episode(1) / MANIFEST_NAME
    whole = path.read_bytes()
    expected, refused = read_manifest(run.episode(1)), 0
    for offset in range(len(whole)):
        patch(path, offset, whole[offset] ^ 1)
        try:
            assert read_manifest(run.episode(1)) == expected  # white space became other white space
        except IntegrityError:
            refused += 1
        patch(path, offset, whole[offset])
    assert refused > len(whole) / 2


def test_a_recording_cut_at_any_byte_is_read_up_to_the_cut(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.0)  # every message in its own chunk
    writer = EpisodeWriter(run, header(1))
    for n in range(6):
        writer.write("/robot", n, {"n": n})
    writer.close(SUCCESS)
    path = run.episode(1) / MCAP_NAME
    whole = path.read_bytes()
    expected, entire = salvage(path, "/robot")
    assert entire
    lengths = []
    for cut in range(len(whole) - 1, -1, -1):
        os.truncate(path, cut)
        got, entire = salvage(path, "/robot")
        assert not entire
        assert got == expected[: len(got)]
        lengths.append(len(got))
    assert lengths == sorted(lengths, reverse=True)
    assert set(lengths) == set(range(7))


def patch(path: Path, offset: int, value: int) -> None:
    """Change one byte in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes([value]))


def test_salvage_survives_flipped_bytes(run: RunDirectory) -> None:
    record_one(run)
    path = run.episode(1) / MCAP_NAME
    whole = path.read_bytes()
    for offset in range(0, len(whole), 3):
        patch(path, offset, whole[offset] ^ 0xFF)
        for message in salvage(path, "/robot")[0]:
            assert message.body["mode"] == "ok"
        patch(path, offset, whole[offset])


def test_a_lockstep_episode_is_flushed_by_its_stamps_though_no_time_goes_by(run: RunDirectory) -> None:
    """Three seconds of recording in a few milliseconds: a kill costs `FLUSH_S` of them, and a byte one chunk."""
    writer, began, period = EpisodeWriter(run, header(1)), 7_000 * SECOND, SECOND // 20
    stamps = [began + n * period for n in range(60)]
    for stamp in stamps:
        writer.write("/steps", stamp, {"n": stamp})
    kept, _ = salvage(run.partial(1) / MCAP_NAME, "/steps")
    assert stamps[-1] - kept[-1].stamp_ns < FLUSH_S * SECOND
    path = writer.abandon() / MCAP_NAME
    with path.open("rb") as file:
        chunks = [r for r in StreamReader(file, emit_chunks=True).records if isinstance(r, Chunk)]
    spans = [chunk.message_end_time - chunk.message_start_time for chunk in chunks]
    assert len(chunks) == 3.0 / FLUSH_S
    assert max(spans) <= FLUSH_S * SECOND


def test_a_killed_writer_loses_less_than_the_flush_interval(run: RunDirectory) -> None:
    code = f"""
import time
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.run import RunDirectory
from tests.store.examples import header
writer = EpisodeWriter(RunDirectory.open({str(run.path)!r}), header(1))
while True:
    stamp = time.monotonic_ns()
    writer.write("/robot", stamp, {{"x": 1.0}})
    print(stamp, flush=True)
    time.sleep(0.01)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = int(process.stdout.readline())
        deadline = time.monotonic() + 20
        written = [first]
        while written[-1] - first < 1.2e9 and time.monotonic() < deadline:
            written.append(int(process.stdout.readline()))
        process.kill()
        written += [int(line) for line in process.stdout.read().splitlines()]
    messages, whole = salvage(run.partial(1) / MCAP_NAME, "/robot")
    saved = [message.stamp_ns for message in messages]
    assert not whole
    assert saved == written[: len(saved)]
    lost = written[len(saved) :]
    assert not lost or (lost[-1] - lost[0]) / 1e9 <= FLUSH_S
    assert len(saved) >= 2


def write_many(writer: EpisodeWriter, count: int) -> None:
    for n in range(1, count):
        writer.write("/robot", n, {"n": n})


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond `size`, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_typed_error_and_the_bytes_are_kept(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.0)
    record_one(run, 1)
    writer = EpisodeWriter(run, header(2))
    writer.write("/robot", 0, {"n": 0})
    with file_size_limit(4096):
        with pytest.raises(StoreError, match=r"episode 2 could not be written .*closed ones are intact"):
            write_many(writer, 1000)
        with pytest.raises(StoreError, match="could not be written"):
            writer.close(SUCCESS)
        kept = writer.abandon()
    messages, _ = salvage(kept / MCAP_NAME, "/robot")
    assert [message.body["n"] for message in messages] == list(range(len(messages)))
    assert len(messages) > 1
    assert len(read_transitions(run.episode(1))) == 2


def test_a_disk_that_refuses_at_close_leaves_the_episode_to_be_abandoned(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = EpisodeWriter(run, header(1))
    writer.write("/robot", 1, {"n": 1})

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync_file", refuse)
    with pytest.raises(StoreError, match="No space left"):
        writer.close(SUCCESS)
    kept = writer.abandon()
    assert run.closed_episodes() == []
    assert salvage(kept / MCAP_NAME, "/robot")[0] == [(1, {"n": 1})]


def test_a_foreign_file_is_no_recording(run: RunDirectory) -> None:
    path = run.path / "foreign.mcap"
    for data in (b"", b"PK\x03\x04", b"\x89MCAP0\r\n" + b"\x06" + b"\xff" * 8, io.BytesIO(b"x" * 100).getvalue()):
        path.write_bytes(data)
        assert salvage(path, "/robot") == ([], False)
