"""An episode's directory as a rosbag2 bag, by the `rosbags` library; and recordings from before it was one."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import yaml
from mcap.writer import Writer

from robot_rl.errors import DiskError
from robot_rl.store.bag import METADATA_NAME
from robot_rl.store.episode import (
    MCAP_NAME,
    EpisodeWriter,
    read_images,
    read_manifest,
    read_messages,
    read_transitions,
    write_manifest,
)
from robot_rl.store.files import sha256_file
from robot_rl.store.repair import repair
from robot_rl.store.run import RunDirectory
from robot_rl.store.transitions import to_message
from tests.faults.disk import Disk, failing
from tests.store.examples import SUCCESS, header, transition
from tests.store.test_transitions import assert_same_bits

JPEG = b"\xff\xd8\xff\xe0 not really \xff\xd9"
STEP = {
    "q": [0.5, -1.25],
    "tcp_pose": [0.1, 0.2, 0.3, 1, 0, 0, 0.25],
    "gripper_width": 0.08,
    "sent": [0.01, -0.02, 0.04],
}


def record_one(run: RunDirectory) -> None:
    writer = EpisodeWriter(run, header(1))
    for stamp_ns in (7, 12_000_000_345):
        writer.write("/steps", stamp_ns, {**STEP, "verdict": "pass"})
        writer.write_image("front", stamp_ns + 1, JPEG)
    writer.write_transition(transition(1, 0))
    writer.close(SUCCESS)


def test_the_rosbags_library_opens_an_episode_and_reads_every_message(run: RunDirectory) -> None:
    rosbags = pytest.importorskip("rosbags.highlevel", reason="of the extra `dev`")
    record_one(run)
    seen: dict[str, list[Any]] = {}
    with rosbags.AnyReader([run.episode(1)]) as bag:
        assert (bag.start_time, bag.message_count) == (7, 13)
        for connection, stamp_ns, raw in bag.messages():
            message = bag.deserialize(raw, connection.msgtype)
            seen.setdefault(connection.topic, []).append((stamp_ns, message))
    assert {topic: len(messages) for topic, messages in seen.items()} == read_manifest(run.episode(1)).counts
    (_, joints), (_, pose) = seen["/joint_states"][1], seen["/tcp_pose"][1]
    assert (joints.name, joints.position.tolist()) == (["joint1", "joint2"], [0.5, -1.25])
    assert (joints.header.stamp.sec, joints.header.stamp.nanosec, joints.header.frame_id) == (12, 345, "base")
    assert (pose.pose.position.z, pose.pose.orientation.x, pose.pose.orientation.w) == (0.3, 1.0, 0.25)
    assert seen["/gripper_width"][0][1].data == 0.08
    command = seen["/command"][0][1]
    assert (command.layout.dim[0].label, command.data.tolist()) == ("action", [0.01, -0.02, 0.04])
    stamp_ns, frame = seen["/camera/front"][1]
    assert (stamp_ns, frame.format, frame.data.tobytes()) == (12_000_000_346, "jpeg", JPEG)
    assert json.loads(seen["/steps"][0][1].data) == {**STEP, "verdict": "pass"}


def test_the_description_is_of_a_version_that_every_ros_reads(run: RunDirectory) -> None:
    record_one(run)
    text = (run.episode(1) / METADATA_NAME).read_text()
    assert "&" not in text, "no YAML anchors: nothing to be resolved"
    bag = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert (bag["version"], bag["storage_identifier"], bag["relative_file_paths"]) == (5, "mcap", [MCAP_NAME])
    assert bag["starting_time"]["nanoseconds_since_epoch"] == 7
    assert bag["duration"]["nanoseconds"] == 12_000_000_346 - 7
    assert {topic["topic_metadata"]["serialization_format"] for topic in bag["topics_with_message_count"]} == {"cdr"}


def test_a_description_that_cannot_be_written_costs_nothing_else(run: RunDirectory) -> None:
    """At whichever operation of closing the disk is full: an episode that closes reads, described or not."""
    undescribed = nth = 0
    failed = True
    while failed:
        nth += 1
        writer = EpisodeWriter(run, header(nth))
        writer.write("/steps", 7, STEP)
        with failing(Disk(run.path, nth)) as disk:
            try:
                writer.close(SUCCESS)
            except DiskError:
                writer.abandon()
        failed = disk.failed
        if run.episode(nth).exists():
            assert read_messages(run.episode(nth), "/steps")
            undescribed += not (run.episode(nth) / METADATA_NAME).exists()
    assert 0 < undescribed < nth


def test_recordings_of_json_are_still_read(run: RunDirectory) -> None:
    """As versions before 0.2 wrote them; they are no bags, and a copy of one is none either."""
    EpisodeWriter(run, header(1)).close(SUCCESS)
    folder, described = run.episode(1), transition(1, 0)
    manifest = read_manifest(folder)
    image = {"timestamp": {"sec": 0, "nsec": 7}, "frame_id": "front", "format": "jpeg"}
    written: list[tuple[str, str, dict[str, Any]]] = [
        ("/robot", "robot_rl.robot", {"q": [1.5]}),
        ("/camera/front", "foxglove.CompressedImage", {**image, "data": base64.b64encode(JPEG).decode()}),
        ("/transitions", "robot_rl.Transition", to_message(described)),
    ]
    with (folder / MCAP_NAME).open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.add_metadata("robot_rl.episode", {name: str(value) for name, value in asdict(manifest.header).items()})
        for topic, name, message in written:
            channel = writer.register_channel(topic, "json", writer.register_schema(name, "jsonschema", b"{}"))
            writer.add_message(channel, 7, json.dumps(message, allow_nan=False).encode(), 7)
        writer.finish()
    (folder / METADATA_NAME).unlink()
    size, sha256 = (folder / MCAP_NAME).stat().st_size, sha256_file(folder / MCAP_NAME)
    counts = dict.fromkeys([topic for topic, _, _ in written], 1)
    write_manifest(folder, replace(manifest, counts=counts, bytes=size, sha256=sha256))
    assert read_messages(folder, "/robot")[0].body == {"q": [1.5]}
    assert [shot.jpeg for shot in read_images(folder, "front")] == [JPEG]
    assert_same_bits(read_transitions(folder)[0], described)
    assert not (repair(folder).folder / METADATA_NAME).exists()
    (folder / MCAP_NAME).write_bytes((folder / MCAP_NAME).read_bytes()[:-20])
    copy = repair(folder)
    assert copy.kept == counts
    assert not (copy.folder / METADATA_NAME).exists()
    assert [shot.jpeg for shot in read_images(copy.folder, "front")] == [JPEG]
