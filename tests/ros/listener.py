"""`python -m tests.ros.listener TOPICS LATCHED...`: subscribes, says "ready".

Each line [messages, seconds] is answered with a list of what was heard.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections import deque
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

DEPTH = 1000


def main() -> int:
    topics: dict[str, str] = json.loads(sys.argv[1])
    rclpy.init(args=[])
    node = rclpy.create_node("listener")
    heard: deque[tuple[str, int, Any]] = deque()
    for topic, kind in topics.items():
        package, name = kind.split("/msg/")
        message_class = getattr(importlib.import_module(f"{package}.msg"), name)

        def keep(message: Any, topic: str = topic) -> None:
            heard.append((topic, time.monotonic_ns(), message))  # put into words later: that of a picture takes long

        latched = DurabilityPolicy.TRANSIENT_LOCAL if topic in sys.argv[2:] else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=latched)
        node.create_subscription(message_class, topic, keep, qos)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    print("ready", flush=True)
    for line in sys.stdin:
        wanted, timeout_s = json.loads(line)
        deadline = time.monotonic() + timeout_s
        while len(heard) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        taken = [heard.popleft() for _ in range(min(wanted, len(heard)))]
        print(json.dumps([(topic, at_ns, repr(message)) for topic, at_ns, message in taken]), flush=True)
    executor.shutdown()
    spinning.join()
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
