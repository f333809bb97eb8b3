"""Raw images on topics: what rclpy makes of them, and from a camera's frame to who listens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from robot_rl_ros.images import RawImages, hear_images, topic_of
from robot_rl_ros.node import ros_node
from robot_rl_ros.topics import message_class, qos_of
from sensor_msgs.msg import Image

from robot_rl.services.sight import decoded
from robot_rl.store.ros import CAMERA, RAW_IMAGE, RawImage, raw_image_message, read_raw_image
from tests.pictures import jpeg
from tests.ros.graph import DOMAINS

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
SIZE = (40, 30)
"""Width and height."""
STAMP_NS = 12_000_000_345


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ROS_DOMAIN_ID", str(1 + os.getpid() % DOMAINS))
        patched.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        with ros_node("images") as node:
            yield node


def test_rclpy_reads_what_is_made_here_and_its_own_is_read_here() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = Image(height=5, width=7, encoding="rgb8", step=21, data=pixels.tobytes())
    image.header.frame_id = "front"
    image.header.stamp.sec, image.header.stamp.nanosec = 12, 345
    assert deserialize_message(raw_image_message(STAMP_NS, "front", pixels), Image) == image
    read = read_raw_image(serialize_message(image))
    assert (read.stamp_ns, read.frame_id) == (STAMP_NS, "front")
    np.testing.assert_array_equal(read.pixels, pixels)


def test_a_frame_is_decoded_for_who_listens_and_for_nobody_else(node: Node) -> None:
    shown, heard = jpeg(90, SIZE), list[tuple[str, RawImage]]()
    images = RawImages(node, ["front", "side"])
    hear_images(node, ["front"], lambda camera, image: heard.append((camera, image)))
    stranger = node.create_publisher(message_class(RAW_IMAGE), topic_of("front"), qos_of(CAMERA))
    executor, deadline = SingleThreadedExecutor(), time.monotonic() + 10
    executor.add_node(node)
    while not heard:
        images.show_jpeg("side", STAMP_NS, b"is not looked at, or it would be said")
        images.show_jpeg("front", STAMP_NS, b"no picture: left out")
        stranger.publish(Image(encoding="mono8"))
        images.show_jpeg("front", STAMP_NS, shown)
        executor.spin_once(0.1)
        assert time.monotonic() < deadline
    executor.shutdown()
    camera, image = heard[0]
    assert (camera, image.frame_id, image.stamp_ns) == ("front", "front", STAMP_NS)
    np.testing.assert_array_equal(image.pixels, decoded("front", shown))
