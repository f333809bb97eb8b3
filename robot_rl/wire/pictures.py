"""Pictures as JPEG on the wire, for links slower than a few Gbit/s; only where client and server both ask for it.

It costs a millisecond a picture, and the policy sees what JPEG leaves of it. Pillow makes and reads it, and is imported
when that is used. What comes is held against the spec by its header before a pixel is decoded: JPEG alone, the spec's
height and width, no more bytes than the pixels would have, and not progressive (many scans of few bytes each would
take a server's time).
"""

from __future__ import annotations

import importlib.util
import io

import numpy as np

from robot_rl.errors import BadObservation, ConfigError
from robot_rl.types import Array

PAD = 8192
"""Bytes: a picture is filled up with zeros to a multiple, so that messages have a few lengths and not ever others."""
QUALITIES = range(1, 101)


def can_read_jpeg() -> bool:
    """Whether Pillow is there."""
    return importlib.util.find_spec("PIL") is not None


def require_pillow() -> None:
    """Raises `ConfigError`."""
    if not can_read_jpeg():
        raise ConfigError("JPEG on the wire needs Pillow on both sides: pip install pillow")


def most_bytes(shape: tuple[int, ...]) -> int:
    """Of a picture [H, W, 3] as JPEG, filled up."""
    return int(np.prod(shape)) + PAD


def to_jpeg(picture: Array, quality: int) -> Array:
    """[H, W, 3] uint8 RGB -> [n] uint8: JPEG, with zeros at the end."""
    from PIL import Image

    into = io.BytesIO()
    Image.fromarray(picture).save(into, "JPEG", quality=quality)
    into.write(bytes(-into.tell() % PAD))
    return np.frombuffer(into.getbuffer(), np.uint8)


def from_jpeg(key: str, data: Array, shape: tuple[int, ...]) -> Array:
    """What `to_jpeg` made, as [H, W, 3] uint8. Raises `BadObservation` for anything else."""
    from PIL import Image

    expected = f"{key}: expected a JPEG of {shape[1]} x {shape[0]}, RGB, not progressive"
    try:
        with Image.open(io.BytesIO(data.tobytes()), formats=("JPEG",)) as image:  # reads the header
            height, width = shape[:2]
            found = (image.format, image.size, image.mode, "progressive" in image.info)
            if found != ("JPEG", (width, height), "RGB", False):
                kind = "progressive " if found[3] else ""
                raise BadObservation(f"{expected}, got {kind}{image.format} of {image.width} x {image.height}")
            return np.asarray(image)
    except BadObservation:
        raise
    except Exception as error:  # whatever Pillow raises, or warns of, for bytes from outside
        raise BadObservation(f"{expected}, got what is none ({type(error).__name__})") from None
