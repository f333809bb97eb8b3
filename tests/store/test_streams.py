"""An episode's messages as they are stored, for whoever plays them: all of them, in order, or a refusal."""

from __future__ import annotations

import pytest
from mcap.writer import Writer

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import MCAP_NAME, EpisodeWriter, read_manifest
from robot_rl.store.ros import image_message
from robot_rl.store.run import RunDirectory
from robot_rl.store.streams import read_streams
from tests.store.examples import SUCCESS, header, transition
from tests.store.reseal import reseal
from tests.store.test_bag import JPEG, STEP


def recorded(run: RunDirectory) -> None:
    writer = EpisodeWriter(run, header(1))
    for i in range(3):
        writer.write("/steps", 50 * (i + 1), {**STEP, "row": i})
        writer.write_image("front", 50 * i + 7, JPEG)  # shows what was seen before: written late
    writer.write_transition(transition(1, 0))
    writer.close(SUCCESS)


def test_every_message_comes_in_the_order_of_its_stamp_as_it_was_written(run: RunDirectory) -> None:
    recorded(run)
    streams = read_streams(run.episode(1))
    stamps = [message.stamp_ns for message in streams]
    assert stamps == sorted(stamps)
    assert len(streams) == sum(read_manifest(run.episode(1)).counts.values())
    assert [(m.topic, m.kind) for m in streams[:2]] == [
        ("/camera/front", "sensor_msgs/msg/CompressedImage"),
        ("/steps", "std_msgs/msg/String"),
    ]
    assert streams[0].cdr == image_message(7, "front", JPEG)
    assert [m.topic for m in streams if m.stamp_ns == 150] == [
        "/steps", "/joint_states", "/tcp_pose", "/gripper_width", "/command", "/transitions",
    ]  # fmt: skip


def test_a_recording_that_was_changed_is_refused(run: RunDirectory) -> None:
    recorded(run)
    path = run.episode(1) / MCAP_NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="sha256"):
        read_streams(run.episode(1))


def test_a_recording_that_lacks_what_its_manifest_counts_is_refused(run: RunDirectory) -> None:
    recorded(run)
    reseal(run.episode(1), counts={"/steps": 4})
    with pytest.raises(IntegrityError, match="expected messages"):
        read_streams(run.episode(1))


def test_a_recording_of_json_is_no_bag(run: RunDirectory) -> None:
    EpisodeWriter(run, header(1)).close(SUCCESS)
    with (run.episode(1) / MCAP_NAME).open("wb") as file:
        writer = Writer(file)
        writer.start()
        channel = writer.register_channel("/steps", "json", writer.register_schema("robot_rl.steps", "jsonschema", b""))
        writer.add_message(channel, 7, b"{}", 7)
        writer.finish()
    reseal(run.episode(1), counts={"/steps": 1})
    with pytest.raises(StoreError, match="got JSON"):
        read_streams(run.episode(1))
