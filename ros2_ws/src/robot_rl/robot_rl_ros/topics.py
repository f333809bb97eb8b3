"""Topics of the graph: the streams of a recording under relative names, with the QoS that REP-2003 asks for.

Whoever publishes hands over CDR that `robot_rl.store.ros` made: the live graph, a recording and its replay say the
same bytes, but for the stamps, which are ROS's time in the live graph and the recording's own in the others.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_system_default
from rclpy.time_source import USE_SIM_TIME_NAME

from robot_rl.errors import ConfigError
from robot_rl.store.records import encode
from robot_rl.store.ros import CAMERA, STREAMS, text_message, type_of

COMMAND, STATES = "/command", ("/safety", "/state", "/learner_status")
"""What was sent to the robot; and what is a state, of which the newest word is wanted at any time."""
EVENT_DEPTH = 100
"""Messages of an event's topic that may wait for a slow subscriber."""


def qos_of(topic: str) -> QoSProfile:
    """Sensors are published with the system's defaults, states are latched, and no event may be missed."""
    if topic.startswith(CAMERA) or (topic in STREAMS and topic != COMMAND):
        return qos_profile_system_default
    return latched_qos() if topic in STATES else event_qos()


def latched_qos() -> QoSProfile:
    """Of a state: who comes late hears the newest word."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def event_qos() -> QoSProfile:
    """Of what happens once."""
    return QoSProfile(depth=EVENT_DEPTH, reliability=ReliabilityPolicy.RELIABLE)


class Streams:
    """Publishers of some topics of a recording, below the node's namespace; to be used by any one thread at a time."""

    def __init__(self, node: Node, topics: Iterable[str]) -> None:
        """Raises `ConfigError` for a topic that is no name in ROS, or a type that is not installed."""
        self._node = node
        self.publishers: Mapping[str, Publisher] = {topic: _publisher(node, topic) for topic in topics}

    def publish(self, topic: str, cdr: bytes) -> None:
        """CDR of the topic's type; nothing if `topic` is not one of these."""
        if topic in self.publishers:
            self.publishers[topic].publish(cdr)

    def say(self, topic: str, message: Mapping[str, Any]) -> None:
        """A message that a recording has as JSON."""
        if topic in self.publishers:
            self.publishers[topic].publish(text_message(encode(message, topic)))

    def ros_time(self, stamp_ns: int) -> int:
        """A monotonic stamp of this host as ROS's clock has it, in ns; where that is simulated, the present time."""
        simulated = self._node.get_parameter(USE_SIM_TIME_NAME).value
        age_ns = 0 if simulated else time.monotonic_ns() - stamp_ns
        return int(self._node.get_clock().now().nanoseconds) - age_ns


def _publisher(node: Node, topic: str) -> Publisher:
    try:
        return node.create_publisher(message_class(type_of(topic)), topic.removeprefix("/"), qos_of(topic))
    except InvalidTopicNameException as error:
        raise ConfigError(f"{topic}: expected letters, digits, _ and /, as ROS 2 names topics: {error}") from error


def message_class(kind: str) -> Any:
    """The Python class of "package/msg/Name". Raises `ConfigError` when the package is not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise ConfigError(
            f"{kind}: {error}; pip install 'robot-rl[ros]', or source a ROS 2 that has {package}"
        ) from error
