"""Pictures that a camera might have taken."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image


def jpeg(level: int, size: tuple[int, int] = (32, 24)) -> bytes:
    """Width, height; of one grey."""
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (level, level, level)).save(file, "JPEG", quality=95)
    return file.getvalue()


def noise(seed: int, size: tuple[int, int] = (160, 120)) -> bytes:
    """Width, height; of which each pixel is another."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()
