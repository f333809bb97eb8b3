"""`robot-rl replay --to-ros`: an episode's messages on the topics of the live ROS 2 graph."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from robot_rl.clock import SECOND
from robot_rl.compositions.ros_side import ros_side
from robot_rl.errors import ConfigError
from robot_rl.store.ros import type_of
from robot_rl.store.streams import read_streams


def replay_to_ros(folder: Path, rate: float, namespace: str, console: Console) -> None:
    """Publish a closed episode, `rate` times as fast as it was recorded, below `namespace`.

    Raises `ConfigError` where ROS 2 is not installed, `StoreError` for what is no episode in ROS 2's messages.
    """
    if not math.isfinite(rate):
        raise ConfigError(f"--rate: expected a finite number, got {rate}")
    with ros_side("--to-ros"):
        from robot_rl_ros.dds import dds_environment
        from robot_rl_ros.node import valid_namespace
        from robot_rl_ros.replay import publish_recording
    recorded = read_streams(folder)
    if not recorded:
        raise ConfigError(f"{folder}: no message in it: there is nothing to publish")
    place = valid_namespace(namespace)
    table = Table("topic", "type", "messages")
    for topic, count in sorted(Counter(message.topic for message in recorded).items()):
        table.add_row(place.rstrip("/") + topic, type_of(topic), str(count))
    console.print(table)
    seconds = (recorded[-1].stamp_ns - recorded[0].stamp_ns) / SECOND
    console.print(
        f"{len(recorded)} messages of {seconds:.2f} s, {rate:g} times as fast, as soon as there are listeners"
    )
    # as the launchers' nodes; Fast DDS reads it at its start
    os.environ.update(dds_environment(os.environ, images=False))
    done = publish_recording(recorded, rate=rate, namespace=place)
    console.print(f"published in {done.seconds:.2f} s; the latest message was {done.latest_ms:.1f} ms late")
