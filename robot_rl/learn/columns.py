"""Columns of the replay: rows behind each other, in plain memory while they are few, in a file when they are many.

A column that outgrows `PLAIN_BYTES` moves into a file of its own in the run's directory, mapped into memory. Its pages
are then the page cache's: where memory is short the kernel writes them back and drops them, and reads them again when
they are drawn, so that a store larger than memory still opens. What is drawn is the same, bit for bit. The file has no
name, and is gone with its process, however that ends.

Room is allocated before anything is written: a hole in a mapped file on a full disk would end the process (SIGBUS),
where an allocation that is refused raises `DiskError` and leaves the column as it was.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import weakref
from pathlib import Path

import torch
from torch import Tensor

from robot_rl.errors import DiskError

PLAIN_BYTES = 32 * 1024 * 1024
"""Of a column, up to which it is plain memory: most runs of a hundred episodes never need a file."""
STEP_BYTES = 16 * 1024 * 1024
"""By which a file grows at most: it is mapped anew and not copied, so that growing seldom is worth no disk space."""


class Column:
    """[rows, width] that can be appended to."""

    def __init__(
        self,
        width: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder`: where its file may be; None, or another `device` than the CPU: it stays in memory, of any size."""
        self.data = torch.empty(0, width, dtype=dtype, device=device)
        """[room, width]: what was put, and behind it what may be."""
        self._folder = folder if self.data.device.type == "cpu" else None
        self._file: int | None = None
        """Its descriptor."""

    @property
    def in_file(self) -> bool:
        """Whether it has outgrown plain memory."""
        return self._file is not None

    def make_room(self, end: int) -> None:
        """Have room for rows up to `end`. Raises `DiskError` when the disk refuses; the column is then as it was.

        There is room for some more then, so that adding n rows one by one does not copy n^2 / 2.
        """
        if end <= len(self.data):
            return
        row = self.data.shape[1] * self.data.element_size()
        room = end + end // 4
        if self._folder is None or room * row <= PLAIN_BYTES:
            self.data = self._moved_to(self.data.new_empty(room, self.data.shape[1]))
            return
        room = min(room, end + STEP_BYTES // row)
        try:
            mapped = self._mapped(room)
        except OSError as error:
            raise DiskError(
                f"no room for {room} rows of the replay ({room * row / 2**20:.0f} MiB in {self._folder}): "
                f"{error.strerror or error}; what is in it stays. Free space there"
            ) from error
        self.data = mapped

    def put(self, first: int, rows: Tensor) -> None:
        """Write `rows` [n, width] at row `first` on, where there is room."""
        self.data[first : first + len(rows)] = rows

    def _moved_to(self, larger: Tensor) -> Tensor:
        larger[: len(self.data)] = self.data
        return larger

    def _mapped(self, room: int) -> Tensor:
        """What there is, as [room, width] in the file. Raises `OSError`."""
        width, moving = self.data.shape[1], self._file is None
        descriptor = self._nameless() if self._file is None else self._file
        had, size = os.fstat(descriptor).st_size, room * width * self.data.element_size()
        try:
            os.posix_fallocate(descriptor, had, size - had)
            mapping = mmap.mmap(descriptor, size)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, had)  # gives back what there was of it
            if moving:
                os.close(descriptor)
            raise
        mapping.madvise(mmap.MADV_RANDOM)  # rows are drawn at random: their neighbours need not be read with them
        mapped = torch.frombuffer(mapping, dtype=self.data.dtype, count=room * width).view(room, width)
        if moving:
            self._file = descriptor
            weakref.finalize(self, os.close, descriptor)
            mapped = self._moved_to(mapped)
        return mapped

    def _nameless(self) -> int:
        """The descriptor of a new file in the folder, which goes with it. Raises `OSError`."""
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".replay.")
        try:
            os.unlink(name)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
