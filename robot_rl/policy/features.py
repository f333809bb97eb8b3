"""What a state policy sees: proprioception and the bin, in the base frame and in the bin's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from robot_rl.errors import BadObservation
from robot_rl.types import Array, Observation

OBSERVATION: Mapping[str, tuple[int, ...]] = {"tcp_pose": (7,), "gripper_width": (), "extra.bin_pose": (4,)}
"""Keys and shapes of what is read; `extra.bin_pose` is x, y, z in m and yaw in rad."""

FEATURES = 11
"""F: TCP x, y, z; gripper width; bin x, y, sin yaw, cos yaw; TCP x, y, z from the bin, turned into its yaw."""


def state_features(tcp_pose: Array, gripper_width: Array, bin_pose: Array) -> Array:
    """[N, 7] m + quaternion, [N] m and [N, 4] m + rad -> [N, 11] float64, in metres and not yet normalised."""
    tcp = tcp_pose[:, :3]
    sin, cos = np.sin(bin_pose[:, 3]), np.cos(bin_pose[:, 3])
    away = tcp - bin_pose[:, :3]
    forward, left = cos * away[:, 0] + sin * away[:, 1], cos * away[:, 1] - sin * away[:, 0]
    columns = (*tcp.T, gripper_width, *bin_pose[:, :2].T, sin, cos, forward, left, away[:, 2])
    return np.stack(columns, axis=1).astype(np.float64)


def read_features(observations: Sequence[Observation]) -> Array:
    """B observations -> [B, 11]. Raises `BadObservation` naming the key, what was expected and what came."""
    if not observations:
        raise BadObservation("expected one observation or more, got none")
    tcp_pose, gripper_width, bin_pose = (
        np.stack([_read(observation, key, shape) for observation in observations]) for key, shape in OBSERVATION.items()
    )
    return state_features(tcp_pose, gripper_width, bin_pose)


def _read(observation: Observation, key: str, shape: tuple[int, ...]) -> Array:
    name = key.removeprefix("extra.")
    if name != key and name not in observation.extra:
        raise BadObservation(
            f"observation {observation.seq}: expected {key!r} of shape {shape}, got extras "
            f"{sorted(observation.extra)}; the robot or the perception in front of it must provide it"
        )
    raw = observation.extra[name] if name != key else getattr(observation, name)
    value = np.asarray(raw)
    if value.dtype.kind not in "fiu" or value.shape != shape or not np.isfinite(value).all():
        raise BadObservation(
            f"observation {observation.seq}: expected {key!r} as finite numbers of shape {shape}, "
            f"got {value.dtype} of shape {value.shape}: {value!r}"
        )
    return value.astype(np.float64)
