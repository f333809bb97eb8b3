"""A disk that refuses: real files, but the n-th operation that changes something under a folder fails or is torn.

Operations are what reaches the operating system: opening for writing, each write behind Python's buffer, fsync,
rename, unlink, mkdir. SQLite writes by itself and is not seen here.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

Mode = Literal["full", "torn", "killed"]
"""full: no space, nothing was done, and so for `lasts` operations more; torn: half was written, then an I/O error;
killed: half was written and the process is gone."""


class Killed(BaseException):
    """Stands for kill -9: nothing of this process's code handles it."""


@dataclass
class Disk:
    """Counts the operations under `folder`, and lets the `nth` (from 1) fail; 0: none."""

    folder: pathlib.Path
    nth: int = 0
    mode: Mode = "full"
    lasts: int = 0
    done: int = field(default=0, init=False)
    failed: bool = field(default=False, init=False)

    def operate(self, path: Any, act: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        """Do `act`, or what is left of it."""
        if not self._mine(path):
            return act()
        self.done += 1
        if not (self.nth and self.nth <= self.done <= self.nth + (self.lasts if self.mode == "full" else 0)):
            if self.mode == "killed" and self.failed:
                raise Killed
            return act()
        self.failed = True
        if self.mode == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        half()
        raise OSError(errno.EIO, os.strerror(errno.EIO)) if self.mode == "torn" else Killed

    def _mine(self, path: Any) -> bool:
        name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fspath(path)
        return f"{os.path.abspath(name)}/".startswith(f"{self.folder}/") and "labels.sqlite" not in name


class _Raw(io.FileIO):
    """The file behind Python's buffer."""

    disk: Disk

    def write(self, data: Any, /) -> int:
        whole = super().write
        written: int = self.disk.operate(self.name, lambda: whole(data), lambda: whole(data[: len(data) // 2]))
        return written


@contextmanager
def failing(disk: Disk) -> Iterator[Disk]:
    """Within the block, `disk` is what is under its folder."""
    real_open = io.open

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "b" not in mode or not set(mode) & set("wxa+"):
            return real_open(file, mode, *args, **kwargs)
        raw: _Raw = disk.operate(file, lambda: _Raw(file, mode.replace("b", "")))
        raw.disk = disk
        return io.BufferedWriter(raw)

    def wrapped(name: str) -> Callable[..., Any]:
        real = getattr(os, name)
        return lambda path, *args, **kwargs: disk.operate(path, lambda: real(path, *args, **kwargs))

    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io):
            patch.setattr(module, "open", opened)
        for name in ("fsync", "replace", "rename", "unlink", "mkdir", "posix_fallocate"):
            patch.setattr(os, name, wrapped(name))
        yield disk
