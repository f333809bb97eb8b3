"""Recorded camera frames, from JPEG files to pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import PIL.Image

from robot_rl.errors import IntegrityError, SpecMismatch
from robot_rl.types import Array


def decoded(jpeg: bytes, where: str) -> Array:
    """uint8 [H, W, 3], RGB. Raises `IntegrityError`, naming `where`, for what is no JPEG file."""
    try:
        with PIL.Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise IntegrityError(f"{where}: a frame is no JPEG picture: {error}; not exported") from error


def decoded_all(jpegs: Sequence[bytes], key: str, shape: Sequence[int]) -> Iterator[Array]:
    """Each, decoded; one that is repeated is decoded once. Raises `SpecMismatch` for one that is not of that shape."""
    last, picture = b"", np.zeros(0, np.uint8)
    for jpeg in jpegs:
        if jpeg is not last:
            last, picture = jpeg, decoded(jpeg, key)
        if list(picture.shape) != shape:
            raise SpecMismatch(f"{key}: expected pictures of {shape}, as the first, got {list(picture.shape)}")
        yield picture
