"""What an episode at real-time pace holds, whoever starts the processes: topics, their schemas, how many messages.

The processes of `robot-rl run` and the graph of ROS 2 nodes are each held to this one list.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcap.reader import make_reader

from robot_rl.store.episode import MCAP_NAME, read_manifest, read_messages
from robot_rl.store.run import RunDirectory

STRING = "std_msgs/msg/String"
EVERY_STEP = {
    "/steps": STRING,
    "/joint_states": "sensor_msgs/msg/JointState",
    "/tcp_pose": "geometry_msgs/msg/PoseStamped",
    "/gripper_width": "std_msgs/msg/Float64",
    "/command": "std_msgs/msg/Float64MultiArray",
}
"""One message each, with the step's stamp."""
NOW_AND_THEN = {"/held": STRING, "/rejected": STRING, "/safety": STRING, "/frames_lost": STRING}
FIELDS = {
    "/steps": "chunk row epoch target sent verdict reason seq tcp_pose gripper_width q extra",
    "/transitions": "episode index features next_features z next_z noise steer base_chunk executed_chunk k_executed "
    "discount pool_noise pool_chunks source terminal truncated",
}
"""Of what is JSON in a String."""
MOVED = ("pass", "clipped")


def require_shape(run: RunDirectory, cameras: Sequence[str]) -> None:
    """Each whole episode of a run holds just that; and each camera has shown itself in one of them at least."""
    whole = [episode for episode in run.closed_episodes() if read_manifest(run.episode(episode)).outcome.complete]
    assert whole
    kinds: dict[str, str] = {}
    for episode in whole:
        stamps = _stamps_of(run, episode, kinds)
        for topic in EVERY_STEP:
            assert stamps[topic] == stamps["/steps"], f"{topic} of episode {episode}"
        folder = run.episode(episode)
        for topic, fields in FIELDS.items():
            for message in read_messages(folder, topic):
                assert sorted(message.body) == sorted(fields.split()), f"{topic} of episode {episode}"
        moved = {step.body["chunk"] for step in read_messages(folder, "/steps") if step.body["verdict"] in MOVED}
        assert len(stamps["/transitions"]) == len(moved), f"episode {episode}: one transition for each chunk that moved"
        assert len(stamps["/cameras"]) == 1, f"episode {episode}"
    pictures = {f"/camera/{camera}": "sensor_msgs/msg/CompressedImage" for camera in cameras}
    expected = {**EVERY_STEP, "/transitions": STRING, "/cameras": STRING, **pictures}
    assert {topic: kind for topic, kind in kinds.items() if topic not in NOW_AND_THEN} == expected
    assert {topic: kind for topic, kind in kinds.items() if topic in NOW_AND_THEN}.items() <= NOW_AND_THEN.items()


def _stamps_of(run: RunDirectory, episode: int, kinds: dict[str, str]) -> dict[str, list[int]]:
    """Topic -> stamps in the order of the recording; what each topic is, by the file's own schemas, into `kinds`."""
    stamps: dict[str, list[int]] = {}
    with (run.episode(episode) / MCAP_NAME).open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages(log_time_order=False):
            assert schema is not None
            assert (channel.message_encoding, schema.encoding) == ("cdr", "ros2msg")
            assert kinds.setdefault(channel.topic, schema.name) == schema.name
            stamps.setdefault(channel.topic, []).append(message.log_time)
    return stamps
