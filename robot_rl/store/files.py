"""Files that are there whole or not at all.

A reader that opens a path written by `atomic_write` finds the old content or the new one, after a kill at any
instruction and after a power cut: the bytes go to a temporary file in the same directory, are synced, renamed over
the path, and the directory is synced. A kill can leave a `.<name>.<random>.tmp` behind; nothing reads those.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any, BinaryIO

from robot_rl.errors import DiskError, IntegrityError, StoreError

JSON_LIMIT = 16 * 1024 * 1024
"""Bytes; no JSON file of a run comes near this, so that a larger one is refused before it is parsed."""


def atomic_write(path: Path, data: bytes) -> None:
    """Replace the content of `path` by `data`, durably, or leave it as it is.

    Raises `DiskError` when the disk refuses; what was at `path` is then intact.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            sync_file(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise DiskError(f"could not write {path}: {error.strerror or error}; what was there is intact") from error


def write_derived(path: Path, data: bytes) -> bool:
    """Replace `path`, which can be made again and carries its own digest; False when the disk refuses.

    Nothing is synced: what a power cut leaves half is not what its digest says.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    with contextlib.suppress(OSError):
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
            return True
        finally:
            temporary.unlink(missing_ok=True)
    return False


def sync_file(descriptor: int) -> None:
    """Return when the file's bytes are on the disk; the one place that syncs, so that a test can make it fail."""
    os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make renames and new names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def open_inside(folder: Path, name: str) -> io.BufferedReader:
    """The file `name` in `folder`, to be read; the store follows no link out of itself and waits for no pipe.

    Raises `IntegrityError` when either is a symbolic link or `name` is not a plain file, `StoreError` when it cannot be
    opened.
    """
    path = folder / name
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # Opening a pipe would wait for its writer.
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        for link in (folder, path):
            if os.path.islink(link):  # False where nothing can be seen at all
                raise IntegrityError(f"{link} is a symbolic link: expected the data itself; not followed") from error
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IntegrityError(f"{path}: expected a plain file; not read")
    return os.fdopen(descriptor, "rb")


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return sha256_of(file)


def sha256_of(file: BinaryIO) -> str:
    """sha256, hexadecimal, of what is left of an open file."""
    digest = hashlib.sha256()
    while block := file.read(1024 * 1024):
        digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """`value` as indented JSON, atomically. Raises `StoreError` for what JSON cannot say."""
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"{path.name}: expected what JSON can hold: {error}") from error
    atomic_write(path, text.encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises `StoreError` when it cannot be opened, `IntegrityError` when it is not one."""
    try:
        with open(path, "rb") as file:
            return load_json(file, path)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error


def load_json(file: BinaryIO, path: Path) -> dict[str, Any]:
    """The JSON object in the open `file`, which is `path`. Raises `IntegrityError`; nothing large is parsed."""
    size = os.fstat(file.fileno()).st_size  # reading with a limit would allocate that limit
    data = file.read(size + 1) if size <= JSON_LIMIT else b""
    if max(size, len(data)) > JSON_LIMIT:
        raise IntegrityError(f"{path}: expected at most {JSON_LIMIT} bytes of JSON; not read")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: not JSON ({error}); not used") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value
