"""The folder of a run's ipc sockets: in the system's place for temporary files, because a socket's path must be short.

A folder that a killed run left is removed by the next run. It is known to be one by its owner's lock, which the kernel
lets go of when the owner ends in any way: no process id that another may have by now, and no folder of a live run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "robot_rl-"
OWNER = "owner.lock"
"""Locked for as long as the folder is in use."""
LONGEST = 60
"""Bytes of a folder's path: with the longest name in it, it stays below the 107 that a socket's path may have."""


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """A new folder that only this user can enter; removed at the end, and by the next run after a kill."""
    place = tempfile.gettempdir()
    if len(os.fsencode(place)) > LONGEST - len(PREFIX) - len("xxxxxxxx/"):
        place = "/tmp"
    remove_stale(Path(place))
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as made:
        folder = Path(made)
        lock = os.open(folder / f".{OWNER}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(folder / f".{OWNER}", folder / OWNER)  # under its name it has always been locked
            yield folder
        finally:
            os.close(lock)


def remove_stale(place: Path) -> None:
    """Remove the folders of this user in `place` whose owners have ended; what cannot be looked at is left alone."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises for one that is in use
                shutil.rmtree(folder)
            finally:
                os.close(lock)
