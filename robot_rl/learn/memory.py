"""Keeps a learner's freed memory in the process, where the C library lets it.

An update allocates the same activations as the one before. glibc hands what is freed back to the kernel, and every page
of it is faulted in and zeroed again at the next update: a quarter of the update's time with ten critics of 3 x 256.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's <malloc.h>."""
LARGEST_FROM_HEAP = 32 << 20
"""Bytes: glibc's own upper bound; larger allocations stay with the kernel."""
NEVER_TRIM = 2**31 - 1


def keep_memory() -> bool:
    """From now on, in this process; False where the C library has no such setting (it is glibc's)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER_TRIM))
