"""A recording's messages as ROS 2 knows them, so that an episode's directory is a bag and its MCAP opens in Foxglove.

What a standard message can say is recorded as that message: camera frames in place of anything of our own, and of every
control step, beside it, the joints, the TCP, the gripper and the command. What only we need (steps with verdicts,
safety, transitions, ...) is JSON in a `std_msgs/msg/String`: all of a bag must be of one encoding.

    /camera/<name>      sensor_msgs/msg/CompressedImage     jpeg
    /joint_states       sensor_msgs/msg/JointState          position, rad; joints are named joint1, joint2, ...
    /tcp_pose           geometry_msgs/msg/PoseStamped       m and xyzw, in the frame "base"
    /gripper_width      std_msgs/msg/Float64                m
    /command            std_msgs/msg/Float64MultiArray      what was sent, SI, as the task's action space has it
    any other           std_msgs/msg/String                 a JSON object

Raw images (sensor_msgs/msg/Image, uint8 [H, W, 3]) are not recorded, but made and read here too: a frame of 640 x 480
is 0.9 MB, and each time that rclpy puts it into another form costs as much as sending it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_rl.clock import SECOND
from robot_rl.store.cdr import CdrReader, CdrWriter
from robot_rl.types import Array

STEPS = "/steps"
"""The topic that the standard streams come of."""
CAMERA = "/camera/"
"""What the topics of cameras begin with."""
CAMERAS = "/cameras"
"""Topic of one message, {camera: frames}: the cameras that were to be recorded, and of one that never came 0."""
STRING, IMAGE = "std_msgs/msg/String", "sensor_msgs/msg/CompressedImage"
RAW_IMAGE, RGB = "sensor_msgs/msg/Image", "rgb8"
STREAMS: Mapping[str, str] = {
    "/joint_states": "sensor_msgs/msg/JointState",
    "/tcp_pose": "geometry_msgs/msg/PoseStamped",
    "/gripper_width": "std_msgs/msg/Float64",
    "/command": "std_msgs/msg/Float64MultiArray",
}
"""Topic -> type of what is recorded of every control step."""
BASE = "base"
"""The frame of poses: the robot's."""

_HEADER = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id

================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
DEFINITIONS: Mapping[str, str] = {
    STRING: "string data\n",
    IMAGE: f"std_msgs/Header header\nstring format\nuint8[] data\n{_HEADER}",
    "sensor_msgs/msg/JointState": (
        f"std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n{_HEADER}"
    ),
    "geometry_msgs/msg/PoseStamped": f"""std_msgs/Header header
geometry_msgs/Pose pose
{_HEADER}
================================================================================
MSG: geometry_msgs/Pose
geometry_msgs/Point position
geometry_msgs/Quaternion orientation

================================================================================
MSG: geometry_msgs/Point
float64 x
float64 y
float64 z

================================================================================
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w
""",
    "std_msgs/msg/Float64": "float64 data\n",
    "std_msgs/msg/Float64MultiArray": """std_msgs/MultiArrayLayout layout
float64[] data

================================================================================
MSG: std_msgs/MultiArrayLayout
std_msgs/MultiArrayDimension[] dim
uint32 data_offset

================================================================================
MSG: std_msgs/MultiArrayDimension
string label
uint32 size
uint32 stride
""",
}
"""Type -> its fields, and those of the types in it, as an MCAP's schema says them (ros2msg)."""


def type_of(topic: str) -> str:
    """The ROS type of a topic."""
    return IMAGE if topic.startswith(CAMERA) else STREAMS.get(topic, STRING)


def text_message(body: bytes) -> bytes:
    """A std_msgs/msg/String of text in UTF-8."""
    return bytes(CdrWriter().text(body).data)


def image_message(stamp_ns: int, camera: str, jpeg: bytes) -> bytes:
    """A sensor_msgs/msg/CompressedImage."""
    return bytes(_stamped(stamp_ns, camera).text(b"jpeg").octets(jpeg).data)


def read_text(data: bytes) -> bytes:
    """Raises `ValueError`."""
    return CdrReader(data).text()


def read_image(data: bytes) -> dict[str, Any]:
    """{frame_id, format, data: the image's bytes}. Raises `ValueError`."""
    reader = CdrReader(data)
    reader.integer("i")
    reader.integer("I")
    return {"frame_id": reader.text().decode(), "format": reader.text().decode(), "data": reader.octets()}


@dataclass(frozen=True)
class RawImage:
    """What a sensor_msgs/msg/Image says."""

    stamp_ns: int
    frame_id: str
    pixels: Array
    """uint8 [H, W, 3] RGB, read-only: a view of the message."""


def raw_image_message(stamp_ns: int, camera: str, pixels: Array) -> bytes:
    """A sensor_msgs/msg/Image of `pixels`, uint8 [H, W, 3] RGB. Raises `ValueError` for another shape or type."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected pixels uint8 [H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    height, width, _ = pixels.shape
    head = _stamped(stamp_ns, camera).number("I", height).number("I", width).text(RGB.encode())
    head.number("B", 0).number("I", 3 * width).number("I", pixels.size)  # little-endian; bytes of a row, and of all
    return b"".join((head.data, np.ascontiguousarray(pixels).data))


def read_raw_image(data: bytes) -> RawImage:
    """Raises `ValueError` for what ends early, is of another encoding than rgb8, or whose rows have no room."""
    reader = CdrReader(data)
    stamp_ns = reader.integer("i") * SECOND + reader.integer("I")
    frame_id = reader.text().decode()
    height, width, encoding = reader.integer("I"), reader.integer("I"), reader.text().decode()
    if encoding != RGB:
        raise ValueError(f"expected an image of encoding {RGB}, got {encoding[:32]!r}: let its driver publish {RGB}")
    reader.integer("B")
    step, octets = reader.integer("I"), reader.view()
    if step < 3 * width or len(octets) != height * step:
        raise ValueError(f"expected {height} rows of at least {3 * width} bytes, got {len(octets)} bytes by {step}")
    rows = np.frombuffer(octets, np.uint8).reshape(height, step)[:, : 3 * width]
    return RawImage(stamp_ns, frame_id, rows.reshape(height, width, 3))


def streams_of(stamp_ns: int, step: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """(topic, message) for what there is in a message of `STEPS`; what is not numbers is left out."""
    if (q := _numbers(step.get("q"))) is not None:
        names = [f"joint{n}" for n in range(1, len(q) + 1)]
        message = _stamped(stamp_ns, BASE).texts(names).floats(q).floats(()).floats(())
        yield "/joint_states", bytes(message.data)
    if (pose := _numbers(step.get("tcp_pose"))) is not None and len(pose) == 7:
        message = _stamped(stamp_ns, BASE)
        for value in pose:
            message.number("d", value)
        yield "/tcp_pose", bytes(message.data)
    if (width := _numbers([step.get("gripper_width")])) is not None:
        yield "/gripper_width", bytes(CdrWriter().number("d", width[0]).data)
    if (sent := _numbers(step.get("sent"))) is not None:
        layout = CdrWriter().number("I", 1).text(b"action").number("I", len(sent)).number("I", len(sent))
        yield "/command", bytes(layout.number("I", 0).floats(sent).data)


def _stamped(stamp_ns: int, frame: str) -> CdrWriter:
    """A message that begins with a header. ROS's seconds have 32 bits; a recording's own stamps have 64."""
    seconds, nanoseconds = divmod(stamp_ns, SECOND)
    return CdrWriter().number("i", seconds % 2**31).number("I", nanoseconds).text(frame.encode())


def _numbers(values: object) -> Sequence[float] | None:
    if isinstance(values, (list, tuple)) and values and all(type(value) in (int, float) for value in values):
        return values
    return None
