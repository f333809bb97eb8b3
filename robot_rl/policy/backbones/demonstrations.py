"""Demonstrations with what the cameras saw."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import BadAction, BadObservation, IntegrityError
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.types import Array, Observation

PREFIX = "frames."


@dataclass(frozen=True, slots=True)
class SeenDemonstrations(Demonstrations):
    """M control steps, and a frame of every camera for each. Raises `BadObservation` as `Demonstrations` does."""

    frames: Mapping[str, Array]
    """Camera -> uint8 [M, H, W, 3]."""

    def __post_init__(self) -> None:
        Demonstrations.__post_init__(self)
        for camera, frames in self.frames.items():
            if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[::3] != (len(self.episode), 3):
                raise BadObservation(
                    f"demonstrations: expected frames of {camera!r} as uint8 [{len(self.episode)}, H, W, 3], "
                    f"got {frames.dtype} {frames.shape}"
                )

    def observation(self, row: int) -> Observation:
        """What the expert saw at step `row`, pictures too."""
        seen = Demonstrations.observation(self, row)
        return replace(seen, images={camera: frames[row] for camera, frames in self.frames.items()})

    def save(self, path: Path) -> None:
        """Write a compressed npz, without loss.

        The frames of one camera come one after the other, and the one before lies within the reach of deflate's
        window: what stands still costs next to nothing.
        """
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(Demonstrations)}
        arrays |= {PREFIX + camera: frames for camera, frames in self.frames.items()}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> SeenDemonstrations:
        """Read what `save` wrote. Raises `IntegrityError` on anything else."""
        names = {field.name for field in fields(Demonstrations)}
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                frames = {name.removeprefix(PREFIX): name for name in archive.files if name.startswith(PREFIX)}
                if set(archive.files) != names | set(frames.values()) or not frames:
                    raise IntegrityError(
                        f"{path}: expected arrays {sorted(names)} and the cameras' as {PREFIX}<camera>, "
                        f"got {sorted(archive.files)}"
                    )
                seen = {camera: archive[name] for camera, name in frames.items()}
                return cls(**{name: archive[name] for name in names}, frames=seen)
        except (OSError, ValueError, zipfile.BadZipFile, BadObservation, BadAction) as error:
            raise IntegrityError(f"{path}: not demonstrations that can be used: {error}; record them again") from error
