"""A node's health on /diagnostics, as REP-107 has it; where diagnostic_msgs is not installed, it goes unsaid."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from rclpy.node import Node

from robot_rl_ros.health import Health
from robot_rl_ros.timers import every

TOPIC = "/diagnostics"
"""Of all nodes of a machine, whatever their namespace: what tools subscribe to."""
PERIOD = "diagnostics_period_s"
"""The parameter of every node that says how often."""
DEPTH = 10


def diagnose(node: Node, health: Callable[[], Health]) -> None:
    """From now on publish what `health` says, which the node's own thread asks, every `PERIOD` seconds."""
    try:
        messages = importlib.import_module("diagnostic_msgs.msg")
    except ImportError as error:
        node.get_logger().warning(f"no {TOPIC}: {error}; pip install 'robot-rl[ros]' brings diagnostic_msgs")
        return
    publisher = node.create_publisher(messages.DiagnosticArray, TOPIC, DEPTH)
    name = node.get_fully_qualified_name()

    def tell() -> None:
        now = health()
        values = [messages.KeyValue(key=key, value=str(value)) for key, value in now.values.items()]
        status = messages.DiagnosticStatus(
            level=bytes([now.level]), name=name.lstrip("/"), message=now.message, hardware_id="robot_rl", values=values
        )
        array = messages.DiagnosticArray(status=[status])
        array.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(array)

    every(node, node.get_parameter(PERIOD).value, tell)
