"""What was read of many small files or folders, remembered in one file: read again only where one has changed.

The memory is derived and never the truth. Its first line is the sha256 of the rest; it is used for a file or folder
whose inode, size and time of change are those that it was read with. One that had changed a moment before it was read
might change again without another time, and is not remembered. A memory that is missing or damaged is made again; one
that cannot be written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from robot_rl.errors import StoreError
from robot_rl.store.files import open_inside, write_derived

LIMIT = 256 * 1024 * 1024
"""Bytes; a run of a million episodes stays below."""
STAMP = 3
"""Numbers of an entry that say which file was read: inode, size, time of change."""
MOMENT_NS = 100_000_000
"""Longer than two changes can be apart that a file system gives the same time."""


def remembered(
    memory: Path, files: Mapping[str, str], width: int, read: Callable[[str], list[int]]
) -> dict[str, list[int]]:
    """Name -> `read(name)`, `width` numbers, for those of `files` (name -> path) that raise no `StoreError`."""
    known, entries, settled_ns = _load(memory, width), {}, time.time_ns() - MOMENT_NS
    for name, path in files.items():
        with contextlib.suppress(OSError, StoreError):
            status = os.lstat(path)
            stamp = [status.st_ino, status.st_size, status.st_mtime_ns]
            entry = known.get(name)
            entries[name] = entry if entry is not None and entry[:STAMP] == stamp else stamp + read(name)
    settled = {name: entry for name, entry in entries.items() if entry[STAMP - 1] < settled_ns}
    if settled != known:
        body = json.dumps(settled, separators=(",", ":")).encode()
        write_derived(memory, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    return {name: entry[STAMP:] for name, entry in entries.items()}


def _load(memory: Path, width: int) -> dict[str, list[int]]:
    try:
        with open_inside(memory.parent, memory.name) as file:
            digest, _, body = file.read(LIMIT).partition(b"\n")
        loaded = json.loads(body) if digest == hashlib.sha256(body).hexdigest().encode() else {}
    except (StoreError, ValueError, RecursionError):
        return {}
    sound = isinstance(loaded, dict) and all(
        isinstance(entry, list) and len(entry) == STAMP + width and all(type(number) is int for number in entry)
        for entry in loaded.values()
    )
    return loaded if sound else {}
