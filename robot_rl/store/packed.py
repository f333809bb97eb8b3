"""An episode's transitions packed beside its MCAP, so that a replay of 10,000 episodes is rebuilt in seconds.

`transitions.packed` is derived from the recording and never the truth: it names the sha256 of the MCAP that it was
made from and carries its own. One that is missing, damaged or of another recording is made again; one that cannot be
written costs time and nothing else. Only one episode is in memory at a time.

    sha256 of all that follows, hexadecimal, and a newline
    a JSON header in one line: {"format", "recording", "columns": {name: [n values] or [dtype, shape of one] or null}}
    the arrays' bytes, [n, *shape] each, in the order of the columns; each begins at a multiple of `ALIGN`
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import MCAP_NAME, read_transitions
from robot_rl.store.files import open_inside, write_derived
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import manifest_of
from robot_rl.store.transitions import DTYPES
from robot_rl.types import Source, Transition

log = logging.getLogger(__name__)

FORMAT = 1
PACKED_NAME = "transitions.packed"
PACKED_LIMIT = 256 * 1024 * 1024
"""Bytes; a larger episode is read from its MCAP every time."""
ALIGN = 16
_SHA = 65
"""Bytes of the first line."""

_SCALARS: dict[str, type] = {
    "episode": int, "index": int, "k_executed": int, "discount": float, "terminal": bool, "truncated": bool,
    "source": str,
}  # fmt: skip
_NAMES = [field.name for field in fields(Transition)]


def stored_transitions(run: RunDirectory, episode: int) -> list[Transition]:
    """The transitions of a closed episode, bit for bit those of its MCAP. Raises as `read_transitions` does."""
    folder, manifest = run.episode(episode), manifest_of(run, episode)
    try:
        # A recording that was cut or removed since is refused, as it was before it was packed.
        if os.lstat(folder / MCAP_NAME).st_size == manifest.bytes:
            return read_packed(folder, episode, manifest.sha256)
    except (OSError, StoreError) as error:
        log.debug("episode %d is read from its recording: %s", episode, error)
    transitions = read_transitions(folder)
    write_packed(folder, manifest.sha256, transitions)
    return transitions


def write_packed(folder: Path, recording: str, transitions: Sequence[Transition]) -> bool:
    """Pack the transitions of the MCAP with sha256 `recording`; False if they cannot be, or the disk refuses."""
    columns: dict[str, Any] = {name: [kind(_plain(t, name)) for t in transitions] for name, kind in _SCALARS.items()}
    parts = []
    for name in _NAMES:
        if name in _SCALARS:
            continue
        arrays = [getattr(t, name) for t in transitions]
        kinds = {None if array is None else (array.dtype.str, array.shape) for array in arrays}
        if len(kinds) != 1:
            return False  # not all alike, or none at all: the MCAP is read
        (kind,) = kinds
        columns[name] = kind
        if kind is not None:
            packed = np.stack(arrays).tobytes()
            parts.append(packed + bytes(-len(packed) % ALIGN))
    header = {"format": FORMAT, "recording": recording, "columns": columns}
    line = json.dumps(header).encode()
    line += b" " * (-(_SHA + len(line) + 1) % ALIGN) + b"\n"
    body = b"".join([line, *parts])
    data = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    return len(data) <= PACKED_LIMIT and write_derived(folder / PACKED_NAME, data)


def read_packed(folder: Path, episode: int, recording: str) -> list[Transition]:
    """What `write_packed` packed for `recording`. Raises `StoreError`, `IntegrityError` for anything else."""
    path = folder / PACKED_NAME
    with open_inside(folder, PACKED_NAME) as file:
        data = bytearray(min(os.fstat(file.fileno()).st_size, PACKED_LIMIT))
        del data[file.readinto(data) :]
    if data[:_SHA] != hashlib.sha256(memoryview(data)[_SHA:]).hexdigest().encode() + b"\n":
        raise IntegrityError(f"{path}: its sha256 is not that of its content; it is made again")
    try:
        start = data.index(b"\n", _SHA) + 1
        header = json.loads(data[_SHA:start])
        columns = header["columns"]
        count = len(columns["index"])
        if (header["format"], header["recording"]) != (FORMAT, recording):
            raise ValueError("of another recording or format")
        if (columns["episode"], columns["index"]) != ([episode] * count, list(range(count))):
            raise ValueError(f"not the transitions of episode {episode}")
        return _transitions(count, columns, data, start)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise IntegrityError(f"{path}: {error}; it is made again") from error


def _transitions(count: int, columns: dict[str, Any], data: bytearray, start: int) -> list[Transition]:
    """Their arrays are views of `data`, which can be written to like any array."""
    rows: dict[str, Sequence[Any]] = {}
    for name in _NAMES:
        column = columns[name]
        if name in _SCALARS:
            if len(column) != count or not all(type(value) is _SCALARS[name] for value in column):
                raise ValueError(f"{name}: expected {count} of {_SCALARS[name].__name__}")
            rows[name] = [Source(value) for value in column] if name == "source" else column
        elif column is None:
            rows[name] = [None] * count
        else:
            dtype, shape = column
            if dtype not in DTYPES:
                raise ValueError(f"{name}: expected a dtype of {DTYPES}, got {dtype!r:.20}")
            array = np.ndarray((count, *shape), dtype, data, start)
            rows[name] = [array[row, ...] for row in range(count)]
            start += array.nbytes + -array.nbytes % ALIGN
    if start != len(data):
        raise ValueError(f"expected {start} bytes, got {len(data)}")
    return [Transition(*row) for row in zip(*(rows[name] for name in _NAMES), strict=True)]


def _plain(transition: Transition, name: str) -> Any:
    value = getattr(transition, name)
    return value.value if isinstance(value, Source) else value
