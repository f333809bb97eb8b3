"""Tests that run as root, as one whom the file system may refuse: without that its modes would mean nothing to them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2
"""Linux capabilities: write, or read, whatever the mode."""
VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Inside, this thread may do to a file what its owner may."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(VERSION_3, 0), (_Sets * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    before = sets[0].effective
    sets[0].effective = before & ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    assert libc.capset(ctypes.byref(header), sets) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """`path` has the mode `bits` inside."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """As on a disk that is mounted read-only, for an `ordinary_user`."""
    found = [folder, *folder.rglob("*")]
    before = [(path, path.stat().st_mode) for path in found]
    for path, bits in before:
        path.chmod(bits & ~0o222)
    try:
        with ordinary_user():
            yield
    finally:
        for path, bits in before:
            path.chmod(bits)
