"""What a node does again and again, whatever its time is."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.timer import Timer


def every(node: Node, period_s: float, call: Callable[[], None]) -> Timer:
    """Have the node's own thread `call` every `period_s` on the wall, also while a simulated time stands still."""
    return node.create_timer(period_s, call, clock=Clock(clock_type=ClockType.STEADY_TIME))
