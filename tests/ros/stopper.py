"""`python -m tests.ros.stopper SERVICE`: a node that calls a Trigger, and prints the answer."""

from __future__ import annotations

import sys

import rclpy
from std_srvs.srv import Trigger


def main() -> int:
    rclpy.init(args=[])
    node = rclpy.create_node("stopper")
    client = node.create_client(Trigger, sys.argv[1])
    assert client.wait_for_service(10.0)
    answer = client.call_async(Trigger.Request())
    rclpy.spin_until_future_complete(node, answer, timeout_sec=10.0)
    print(answer.result().message)
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
