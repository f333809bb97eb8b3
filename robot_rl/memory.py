"""Memory of a process that takes and frees the same large pieces again and again."""

from __future__ import annotations

import ctypes
import sys

KEPT_BYTES = 64 * 2**20
"""Of freed memory that a process may keep; frames of three cameras, each copied a few times, are below 16 MiB."""
LARGEST_BYTES = 32 * 2**20
"""Larger pieces are the system's own; the largest value that glibc takes."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to `KEPT_BYTES`; False where that cannot be had (no glibc).

    Else glibc gives each frame of 0.9 MB back to the system, and takes the next one from it page by page, several times
    on its way through rclpy: that is four fifths of what hearing an image costs.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES))
