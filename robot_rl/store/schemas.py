"""What a channel of an episode's MCAP is: its message encoding, its schema's encoding, and its schema's name."""

from __future__ import annotations

from robot_rl.store.ros import CAMERA, type_of

TRANSITIONS = "/transitions"
Kind = tuple[str, str, str]


def kind_of(topic: str) -> Kind:
    """What is written."""
    return "cdr", "ros2msg", type_of(topic)


def kinds_of(topic: str) -> tuple[Kind, Kind]:
    """What is read: versions before 0.2 wrote JSON. A channel of another kind is foreign."""
    if topic.startswith(CAMERA):
        name = "foxglove.CompressedImage"
    else:
        name = "robot_rl.Transition" if topic == TRANSITIONS else "robot_rl" + topic.replace("/", ".")
    return kind_of(topic), ("json", "jsonschema", name)
