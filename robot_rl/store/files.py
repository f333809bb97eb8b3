"""Files that are there whole or not at all.

A reader that opens a path written by `atomic_write` finds the old content or the new one, after a kill at any
instruction and after a power cut: the bytes go to a temporary file in the same directory, are synced, renamed over
the path, and the directory is synced. A kill can leave a `.<name>.<random>.tmp` behind; nothing reads those.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

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


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
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
            data = file.read(JSON_LIMIT + 1)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > JSON_LIMIT:
        raise IntegrityError(f"{path}: expected at most {JSON_LIMIT} bytes of JSON; not read")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: not JSON ({error}); not used") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value
