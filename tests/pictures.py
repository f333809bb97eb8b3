"""Pictures that a camera might have taken."""

from __future__ import annotations

import io

import PIL.Image


def jpeg(level: int, size: tuple[int, int] = (32, 24)) -> bytes:
    """Width, height; of one grey."""
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (level, level, level)).save(file, "JPEG", quality=95)
    return file.getvalue()
