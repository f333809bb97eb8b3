"""Disk space kept back, so that a full disk is known before an episode begins, and what is open can still be closed.

The run's store allocates it before an episode and gives it up as soon as a write is refused: into it go the labels,
the audit log and the guard's latch, until somebody has made space. No episode begins without it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from robot_rl.errors import DiskError

RESERVE_BYTES = 16 * 1024 * 1024
"""The label log's WAL grows to 4 MiB before SQLite folds it in; the rest is kB."""


class Reserve:
    """One file of a run, allocated and empty of meaning."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path, self._size = path, size

    @property
    def held(self) -> bool:
        try:
            return self._path.stat().st_size >= self._size
        except OSError:
            return False

    def take(self) -> None:
        """Have the space; at once if it is had already. Raises `DiskError`, saying how much there is."""
        if self.held:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.release()
            free = shutil.disk_usage(self._path.parent).free
            raise DiskError(
                f"the disk is full: expected {self._size / 2**20:.0f} MiB to keep back, there are {free / 2**20:.1f} "
                f"({error.strerror}); free space on {self._path.parent}, then run"
            ) from error

    def release(self) -> None:
        """Give the space up, for what has to be written now."""
        with contextlib.suppress(OSError):  # some file systems need space to remove a file
            self._path.unlink(missing_ok=True)
