"""All of a closed episode's messages as they are stored, in the order of their stamps: what a bag plays."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import MCAP_NAME, verified
from robot_rl.store.files import open_inside
from robot_rl.store.mcap_file import DAMAGE, read_messages_of
from robot_rl.store.ros import type_of


class Recorded(NamedTuple):
    """One message."""

    topic: str
    """With a slash before it, as `store.ros` lists them."""
    kind: str
    """Its ROS type, e.g. "sensor_msgs/msg/JointState"."""
    stamp_ns: int
    cdr: bytes


def read_streams(folder: Path) -> list[Recorded]:
    """Messages of the same stamp stay in the order in which they were written.

    Raises `StoreError` for an episode that cannot be opened, or was recorded as JSON, and `IntegrityError` when
    anything differs from the manifest.
    """
    path, streams = folder / MCAP_NAME, list[Recorded]()
    counts: dict[str, int] = {}
    with open_inside(folder, MCAP_NAME) as file:
        manifest = verified(folder, file)
        try:
            for channel, message in read_messages_of(file):
                if channel.message_encoding != "cdr":
                    raise StoreError(
                        f"{path}: expected ROS 2's messages, got JSON: recorded by a version before 0.2; "
                        "`robot-rl replay` shows it in the browser"
                    )
                counts[channel.topic] = counts.get(channel.topic, 0) + 1
                streams.append(Recorded(channel.topic, type_of(channel.topic), message.log_time, message.data))
        except DAMAGE as error:
            raise IntegrityError(
                f"{path}: not a readable MCAP file: {error!r:.200}; the episode is not used"
            ) from error
    if counts != manifest.counts:
        raise IntegrityError(f"{path}: expected messages {dict(manifest.counts)}, got {counts}; not used")
    return sorted(streams, key=lambda message: message.stamp_ns)
