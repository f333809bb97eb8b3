"""Raw images on topics, said and heard: sensor_msgs/Image, rgb8, on `camera/NAME/image` below the node's namespace.

Both sides hand rclpy the message as bytes (`robot_rl.store.ros`): pixels are not converted on their way, and who hears
looks at them where rclpy has put them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data

from robot_rl.errors import BadObservation
from robot_rl.memory import keep_freed_memory
from robot_rl.services.sight import decoded
from robot_rl.store.ros import CAMERA, RAW_IMAGE, RawImage, raw_image_message, read_raw_image
from robot_rl.types import Array
from robot_rl_ros.topics import message_class, qos_of


def topic_of(camera: str) -> str:
    """Relative, as all names are."""
    return f"{CAMERA.removeprefix('/')}{camera}/image"


class RawImages:
    """Publishers of some cameras' raw images; to be used by any one thread at a time."""

    def __init__(self, node: Node, cameras: Iterable[str]) -> None:
        """Raises `ConfigError` where sensor_msgs is not installed."""
        kind = message_class(RAW_IMAGE)
        self._publishers: Mapping[str, Publisher] = {
            camera: node.create_publisher(kind, topic_of(camera), qos_of(CAMERA + camera)) for camera in cameras
        }

    def show(self, camera: str, stamp_ns: int, pixels: Array) -> None:
        """`pixels`: uint8 [H, W, 3] RGB; `stamp_ns`: ROS's time."""
        self._publishers[camera].publish(raw_image_message(stamp_ns, camera, pixels))

    def show_jpeg(self, camera: str, stamp_ns: int, jpeg: bytes) -> None:
        """As `show`, but only while somebody listens: a picture is decoded for that. One that is none is left out."""
        if self._publishers[camera].get_subscription_count():
            with suppress(BadObservation):  # its compressed twin shows what came
                self.show(camera, stamp_ns, decoded(camera, jpeg))


def hear_images(node: Node, cameras: Iterable[str], hear: Callable[[str, RawImage], None]) -> None:
    """Call `hear(camera, image)` in the node's executor for each raw image, best-effort, as REP-2003 has it.

    One that cannot be read is logged and left out. The process keeps its memory from now on (`keep_freed_memory`).
    """
    keep_freed_memory()
    kind = message_class(RAW_IMAGE)
    for camera in cameras:

        def take(cdr: bytes, camera: str = camera) -> None:
            try:
                image = read_raw_image(cdr)
            except ValueError as error:
                node.get_logger().warning(f"camera {camera}: {error}", throttle_duration_sec=5.0)
                return
            hear(camera, image)

        node.create_subscription(kind, topic_of(camera), take, qos_profile_sensor_data, raw=True)
