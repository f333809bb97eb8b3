"""What a learner decoded at an episode's states, kept beside the recording: a pool takes 20 ms an episode to decode.

Derived, as `transitions.packed` is: `.pool.<key>` begins with the sha256 of what decides it (the key, the recording's
sha256, the shape) and of its bytes. One that is missing, damaged or of something else is decoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_rl.errors import StoreError
from robot_rl.store.files import open_inside, write_derived
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import manifest_of
from robot_rl.types import Array

_SHA = 32
"""Bytes of the digest."""


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """Float32 arrays of a run's episodes, under one key: policy, settings and seed that they come of."""

    run: RunDirectory
    key: str
    """Hexadecimal."""

    def recall(self, episode: int, shape: Sequence[int]) -> Array | None:
        """What was kept of `episode` in this shape, bit for bit; None if there is nothing."""
        size = 4 * math.prod(shape)
        try:
            path = self._path(episode)
            with open_inside(path.parent, path.name) as file:
                if os.fstat(file.fileno()).st_size != _SHA + size:
                    return None
                data = file.read()
            if data[:_SHA] != self._digest(episode, shape, memoryview(data)[_SHA:]):
                return None
        except (OSError, StoreError):
            return None
        array: Array = np.frombuffer(data, "<f4", offset=_SHA).reshape(shape)
        return array

    def keep(self, episode: int, pool: Array) -> None:
        """Keep `pool`; nothing if it is not float32, or the disk refuses."""
        body = pool.tobytes()
        if pool.dtype == np.dtype("<f4"):
            with contextlib.suppress(StoreError):
                write_derived(self._path(episode), self._digest(episode, pool.shape, memoryview(body)) + body)

    def _path(self, episode: int) -> Path:
        return self.run.episode(episode) / f".pool.{self.key[:12]}"

    def _digest(self, episode: int, shape: Sequence[int], body: memoryview) -> bytes:
        recording = manifest_of(self.run, episode).sha256
        digest = hashlib.sha256(f"{self.key} {recording} {[int(n) for n in shape]}\n".encode())
        digest.update(body)
        return digest.digest()
