"""Messages of ROS 2: byte for byte what ROS makes of the same values, and refused where they end early."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.store.ros import (
    image_message,
    raw_image_message,
    read_image,
    read_raw_image,
    read_text,
    streams_of,
    text_message,
)
from robot_rl.types import Array

STAMP_NS = 12_000_000_345
JOINTS, POSE = [0.5, -1.25], [0.1, 0.2, 0.3, 1, 0, 0, 0.25]
HEADER = "0c000000 59010000 05000000 6261736500 000000"
"""Stamp, and "base" with the padding behind it."""
FROM_ROS = {
    "/joint_states": f"""{HEADER} 02000000 07000000 6a6f696e743100 00 07000000 6a6f696e743200 00 02000000 00000000
        000000000000e03f 000000000000f4bf 00000000 00000000""",
    "/tcp_pose": f"""{HEADER} 00000000 9a9999999999b93f 9a9999999999c93f 333333333333d33f
        000000000000f03f 0000000000000000 0000000000000000 000000000000d03f""",
    "/gripper_width": "7b14ae47e17ab43f",
    "/command": """01000000 07000000 616374696f6e00 00 03000000 03000000 00000000 03000000
        7b14ae47e17a843f 7b14ae47e17a94bf 7b14ae47e17aa43f""",
}
"""By rclpy 7.1 (Jazzy), with its padding, which is not initialised, as 0, and without any at the end."""
IMAGE = "0c000000 59010000 06000000 66726f6e7400 0000 05000000 6a70656700 000000 03000000 ffd801"

RAW = """0c000000 59010000 06000000 66726f6e7400 0000 01000000 02000000 05000000 7267623800 00 0000 06000000 06000000
    0102030405ff"""
PIXELS = np.array([[[1, 2, 3], [4, 5, 255]]], np.uint8)


def cdr(digits: str) -> bytes:
    return bytes.fromhex("00010000" + digits)


def test_the_streams_of_a_step_are_what_ros_makes_of_them() -> None:
    step = {"q": JOINTS, "tcp_pose": POSE, "gripper_width": 0.08, "sent": [0.01, -0.02, 0.04], "verdict": "pass"}
    assert dict(streams_of(STAMP_NS, step)) == {topic: cdr(digits) for topic, digits in FROM_ROS.items()}


def test_what_is_no_number_is_in_no_stream() -> None:
    step = {"q": ["NaN"], "tcp_pose": [0.1] * 6, "gripper_width": None, "sent": []}
    assert not list(streams_of(STAMP_NS, step))
    assert not list(streams_of(STAMP_NS, {}))


def test_an_image_and_a_text_are_what_ros_makes_of_them_and_are_read_back() -> None:
    image = image_message(STAMP_NS, "front", b"\xff\xd8\x01")
    assert image == cdr(IMAGE)
    assert read_image(image) == {"frame_id": "front", "format": "jpeg", "data": b"\xff\xd8\x01"}
    text = text_message(b'{"n":1}')
    assert text == cdr("08000000 7b226e223a317d00")
    assert read_text(text) == b'{"n":1}'


def test_a_raw_image_is_what_ros_makes_of_it_and_is_read_back_without_a_copy() -> None:
    message = raw_image_message(STAMP_NS, "front", PIXELS)
    assert message == cdr(RAW)
    read = read_raw_image(message + b"\0\0")  # ROS appends as much as fills up four bytes
    assert (read.stamp_ns, read.frame_id) == (STAMP_NS, "front")
    np.testing.assert_array_equal(read.pixels, PIXELS)
    assert not read.pixels.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        read.pixels[:] = 0


def test_pixels_that_are_a_part_of_others_and_rows_with_room_behind_them_are_right() -> None:
    whole = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(read_raw_image(raw_image_message(0, "f", whole[:, 1::2])).pixels, whole[:, 1::2])
    roomy = bytearray(raw_image_message(0, "f", whole))
    assert roomy[20:28] == bytes([2, 0, 0, 0, 4, 0, 0, 0]), "height and width"
    roomy[24] = 3  # the fourth pixel of each row is room
    np.testing.assert_array_equal(read_raw_image(bytes(roomy)).pixels, whole[:, :3])


@pytest.mark.parametrize("pixels", [PIXELS[0], PIXELS.astype(np.float32), PIXELS[:, :, :2]])
def test_pixels_of_another_kind_are_refused(pixels: Array) -> None:
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        raw_image_message(0, "front", pixels)


def test_an_encoding_that_is_not_read_is_named() -> None:
    with pytest.raises(ValueError, match="bgr8"):
        read_raw_image(raw_image_message(0, "front", PIXELS).replace(b"rgb8", b"bgr8"))


@pytest.mark.parametrize("cut", [0, 3, 20, 30, 50, -1])
def test_a_raw_image_that_ends_early_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_raw_image(raw_image_message(STAMP_NS, "front", PIXELS)[:cut])


def test_rows_that_have_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 6 bytes, got 6 bytes by 5"):
        read_raw_image(cdr(RAW.replace("0000 06000000 06000000", "0000 05000000 06000000")))


def test_seconds_that_ros_cannot_say_wrap() -> None:
    image = image_message(2**62, "front", b"x")
    assert read_image(image)["data"] == b"x"


@pytest.mark.parametrize("cut", [0, 3, 5, 12, 20, 30, -1])
def test_an_image_that_ends_early_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_image(image_message(STAMP_NS, "front", b"123")[:cut])


@pytest.mark.parametrize("data", [b"", cdr("ffffffff 00"), cdr("01000000 41"), b"\x00\x00\x00\x00" + bytes(8)])
def test_a_text_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_text(data)
