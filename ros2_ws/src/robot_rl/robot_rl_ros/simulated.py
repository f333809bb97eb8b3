"""The simulated time of a graph in lockstep, on ROS's own topic: the robot's node says it, the others follow.

It moves by the control periods that the actor asks for and by nothing else, so it stands still for whoever is late.
"""

from __future__ import annotations

import threading

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock

from robot_rl.clock import SECOND, FollowedClock, SteppedClock
from robot_rl_ros.timers import every
from robot_rl_ros.topics import event_qos

TOPIC = "/clock"
"""Where ROS's nodes look for it, whatever their namespace; `graph.remappings` puts it below the graph's own."""
REPEATED_S = 0.05
"""It is said again for whoever missed it, or came late."""


class SimulatedTime:
    """Publishes what `clock` says, from any thread, in order."""

    def __init__(self, node: Node, clock: SteppedClock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._publisher = node.create_publisher(Clock, TOPIC, event_qos())
        every(node, REPEATED_S, self.tell)

    def tell(self) -> None:
        """To be called after each control period."""
        with self._lock:
            seconds, nanoseconds = divmod(self._clock.now_ns(), SECOND)
            self._publisher.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))


def followed(node: Node) -> FollowedClock:
    """The graph's time as the node's own thread is told it; that thread must be running.

    Best effort: reliable would mean in order, and whatever is newest would wait for what was lost.
    """
    clock = FollowedClock(node.resolve_topic_name(TOPIC))

    def hear(said: Clock) -> None:
        clock.tell(said.clock.sec * SECOND + said.clock.nanosec)

    node.create_subscription(Clock, TOPIC, hear, qos_profile_sensor_data)
    return clock
