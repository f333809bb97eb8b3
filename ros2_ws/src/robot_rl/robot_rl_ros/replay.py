"""A recorded episode on the topics of the live graph, at the spacing at which it was recorded."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rclpy.duration import Duration
from rclpy.publisher import Publisher

from robot_rl.clock import MS, SECOND
from robot_rl.errors import ConfigError
from robot_rl.store.streams import Recorded
from robot_rl_ros.node import ros_node
from robot_rl_ros.topics import Streams

NODE = "replay"
LOOK_S = 0.02
SETTLE_S = 0.2
"""A subscriber that this side has found may need a moment more until it has found this side."""
REPEATED_S = 3.2
"""Fast DDS asks every 3 s what is missing: after so long, what was lost on the way has been sent again."""


@dataclass(frozen=True)
class Published:
    """How it went."""

    seconds: float
    """From the first message to the last."""
    latest_ms: float
    """By how much the latest message was late."""


def publish_recording(
    recorded: Sequence[Recorded], *, rate: float = 1.0, namespace: str = "", patience_s: float = 5.0
) -> Published:
    """Publish `recorded`, at least one message, `rate` times as fast as it was recorded; returns after the last one.

    It begins when the topics have their subscribers. `namespace` as `valid_namespace` has it. Raises `ConfigError` for
    topics that are no names in ROS, and when nobody has subscribed to any within `patience_s`.
    """
    with ros_node(NODE, namespace=namespace) as node:
        streams = Streams(node, {message.topic for message in recorded})
        if not await_subscribers(streams.publishers.values(), patience_s):
            raise ConfigError(
                f"nobody listened to any of its topics below {namespace or '/'} for {patience_s:g} s, nothing was "
                "published: start the listener first; if it runs, compare its namespace and ROS_DOMAIN_ID"
            )
        begun, first_ns, latest_ns = time.monotonic_ns(), recorded[0].stamp_ns, 0
        for message in recorded:
            due = begun + round((message.stamp_ns - first_ns) / rate)
            time.sleep(max(0, due - time.monotonic_ns()) / SECOND)
            latest_ns = max(latest_ns, time.monotonic_ns() - due)
            streams.publish(message.topic, message.cdr)
        seconds = (time.monotonic_ns() - begun) / SECOND
        deadline = time.monotonic() + REPEATED_S
        for publisher in streams.publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, deadline - time.monotonic())))
        return Published(seconds, latest_ns / MS)


def await_subscribers(publishers: Collection[Publisher], patience_s: float) -> int:
    """Until each has a subscriber, or no further one has got any for `REPEATED_S`; without any, for `patience_s`.

    How many have one.
    """
    deadline, matched = time.monotonic() + patience_s, 0
    while matched < len(publishers) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        now = sum(publisher.get_subscription_count() > 0 for publisher in publishers)
        if now > matched:
            matched, deadline = now, time.monotonic() + REPEATED_S
    time.sleep(SETTLE_S if matched else 0.0)
    return matched
