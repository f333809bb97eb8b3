"""What standard interfaces cannot say, in the messages of robot_rl_msgs; where these are not built, it goes unsaid."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher

from robot_rl_ros.topics import event_qos, latched_qos

PACKAGE = "robot_rl_msgs"
CHUNKS, LABELS = "chunks", "labels"
EPISODE_STATE, ADAPTER = "episode_state", "adapter"
TYPES: Mapping[str, str] = {
    CHUNKS: "ActionChunk",
    LABELS: "Label",
    EPISODE_STATE: "EpisodeState",
    ADAPTER: "AdapterAnnouncement",
}
"""Topic -> its message."""
LATCHED = (EPISODE_STATE, ADAPTER)
"""Of these the newest word is wanted at any time."""


def interfaces(node: Node, kind: str) -> ModuleType | None:
    """robot_rl_msgs.msg or robot_rl_msgs.srv (`kind`); None, and a line in the node's log, where it is not built."""
    try:
        return importlib.import_module(f"{PACKAGE}.{kind}")
    except ImportError as error:
        what = {"msg": "topics", "srv": "services"}[kind]
        node.get_logger().warning(f"{what} of {PACKAGE} are left out: {error}; `make msgs` builds it")
        return None


class Own:
    """Publishers of some of `TYPES`, below the node's namespace; to be used by any one thread at a time."""

    def __init__(self, node: Node, *topics: str) -> None:
        self._node = node
        self._messages = interfaces(node, "msg")
        self._publishers: dict[str, Publisher] = {}
        for topic in topics if self._messages else ():
            qos = latched_qos() if topic in LATCHED else event_qos()
            self._publishers[topic] = node.create_publisher(self._kind(topic), topic, qos)

    def say(self, topic: str, **fields: Any) -> None:
        """Publish the topic's message, stamped now; nothing where the messages are not built."""
        if topic in self._publishers:
            message = self._kind(topic)(**fields)
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._publishers[topic].publish(message)

    def _kind(self, topic: str) -> Any:
        return getattr(self._messages, TYPES[topic])
