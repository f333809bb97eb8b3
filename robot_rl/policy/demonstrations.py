"""Demonstrations: what an expert saw and did, step by step, and the windows a policy is cloned from."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from robot_rl.errors import BadAction, BadObservation, IntegrityError
from robot_rl.policy.features import OBSERVATION, state_features
from robot_rl.types import Array, Observation


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """M control steps of some episodes, one after the other.

    Raises `BadObservation` or `BadAction` when an array has another shape or a number that is not finite.
    """

    tcp_pose: Array
    """[M, 7] m and quaternion xyzw, base frame."""
    gripper_width: Array
    """[M] m."""
    bin_pose: Array
    """[M, 4] x, y, z in m and yaw in rad, as the policy will see it."""
    action: Array
    """[M, A] SI: displacement of the TCP in this step, then the gripper's width."""
    episode: Array
    """[M] int: which episode a step belongs to; the steps of one are together and in order."""

    def __post_init__(self) -> None:
        steps = len(self.episode)
        for key, shape in OBSERVATION.items():
            name = key.removeprefix("extra.")
            _check(name, getattr(self, name), (steps, *shape), BadObservation)
        _check("action", self.action, (steps, *self.action.shape[1:2]), BadAction)
        starts = np.flatnonzero(np.diff(self.episode, prepend=self.episode[:1] - 1))
        if self.episode.ndim != 1 or steps == 0 or len(starts) != len(np.unique(self.episode)):
            raise BadObservation("demonstrations: expected [M > 0] episode numbers, the steps of an episode together")

    @property
    def episodes(self) -> int:
        """How many episodes there are."""
        return len(np.unique(self.episode))

    def windows(self, horizon: int) -> tuple[Array, Array]:
        """One window a step: features [M, F] (not normalised) and the chunk [M, T, A] SI that began there.

        Behind the end of its episode a chunk stands still: zero displacements, and the last gripper width.
        """
        last = np.searchsorted(_order(self.episode), _order(self.episode), side="right") - 1
        index = np.arange(len(self.episode))[:, None] + np.arange(horizon)
        beyond = index > last[:, None]
        chunks = self.action[np.minimum(index, last[:, None])].astype(np.float32)
        chunks[..., :-1][beyond] = 0.0
        return state_features(self.tcp_pose, self.gripper_width, self.bin_pose), chunks

    def observation(self, row: int) -> Observation:
        """What the expert saw at step `row`; joints were not recorded."""
        nothing: Array = np.zeros(0)
        return Observation(
            seq=int(row),
            stamps_ns={},
            q=nothing,
            dq=nothing,
            tcp_pose=self.tcp_pose[row],
            gripper_width=float(self.gripper_width[row]),
            wrench=np.zeros(6),
            extra={"bin_pose": self.bin_pose[row]},
        )

    def save(self, path: Path) -> None:
        """Write a compressed npz."""
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Demonstrations:
        """Read what `save` wrote. Raises `IntegrityError` on anything else."""
        names = {field.name for field in fields(cls)}
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                if set(archive.files) != names:
                    raise IntegrityError(f"{path}: expected arrays {sorted(names)}, got {sorted(archive.files)}")
                return cls(**{name: archive[name] for name in names})
        except (OSError, ValueError, zipfile.BadZipFile, BadObservation, BadAction) as error:
            raise IntegrityError(f"{path}: not demonstrations that can be used: {error}; record them again") from error


def _order(episode: Array) -> Array:
    """[M] episode numbers -> 0, 0, ..., 1, 1, ... in order of appearance."""
    return np.cumsum(np.diff(episode, prepend=episode[:1]) != 0)


def _check(name: str, value: Array, shape: tuple[int, ...], error: type[BadObservation] | type[BadAction]) -> None:
    if value.shape != shape or len(value.shape) < len(shape) or not np.isfinite(value).all():
        raise error(f"demonstrations: expected finite {name!r} of shape {shape}, got {value.dtype} {value.shape}")
