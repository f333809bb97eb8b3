"""Control steps at their real stamps -> frames at a fixed rate, as learning from demonstrations wants them.

A step is recorded with what the robot reported after it, so that the first frame is what was seen after the first step,
and each frame's action is what was sent from there on: an episode of n steps at the control rate has n - 1 frames.

At time t of a frame, positions and joints are interpolated between the two reports around it; `extra` and cameras are
the newest ones known by then. An `ee_delta` action is a displacement per frame: what was sent is added up over the
frame, each control step's share spread over its own period. The gripper's width is the one asked for at t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.clock import SECOND
from robot_rl.errors import IntegrityError, SpecMismatch
from robot_rl.store.episode import Image
from robot_rl.store.mcap_file import Message
from robot_rl.types import ActionSpace, Array

POSE_NAMES = ("tcp.x", "tcp.y", "tcp.z", "tcp.qx", "tcp.qy", "tcp.qz", "tcp.qw")
SLACK_NS = 1_000.0
"""ns: a report this little behind a frame's time is of that time (rounding)."""


@dataclass(frozen=True)
class Frames:
    """N frames of one episode."""

    state: Array
    """[N, S] float32: TCP pose in m and quaternion xyzw, gripper's width in m, joints in rad."""
    action: Array
    """[N, A] float32, SI."""
    extra: Array
    """[N, E] float32: all of `Observation.extra`, by name."""
    extra_names: tuple[str, ...]
    """Of the E entries."""
    images: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    """Camera -> N JPEG files."""
    ages: Mapping[str, Array] = field(default_factory=dict)
    """Camera -> [N] s: how old its picture is at the frame's time; below 0 where there was none yet."""

    def __len__(self) -> int:
        return len(self.state)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Of the S entries."""
        joints = self.state.shape[1] - len(POSE_NAMES) - 1
        return (*POSE_NAMES, "gripper.width", *(f"q.{joint}" for joint in range(joints)))


def frames_of(
    steps: Sequence[Message],
    images: Mapping[str, Sequence[Image]],
    space: ActionSpace,
    *,
    fps: float,
    control_hz: float,
    where: str,
) -> Frames:
    """The frames of an episode's `/steps`, of which there are at least two.

    Raises `IntegrityError`, naming `where`, for messages that are no control steps, and `SpecMismatch` for actions that
    cannot be resampled.
    """
    if space.kind != "ee_delta":
        raise SpecMismatch(f"{where}: expected actions of kind ee_delta, got {space.kind!r}: it cannot be resampled")
    stamps = np.array([step.stamp_ns for step in steps], np.int64)
    if np.any(np.diff(stamps) <= 0):
        raise IntegrityError(f"{where}: expected stamps of control steps that rise; not exported")
    sent = _column(steps, "sent", where)
    pose, q = _column(steps, "tcp_pose", where), _column(steps, "q", where)
    extra, names = _extra(steps, where)
    width = _column(steps, "gripper_width", where)
    if pose.shape[1] != len(POSE_NAMES) or sent.shape[1] != space.size:
        raise IntegrityError(f"{where}: expected poses [7] and actions [{space.size}] in /steps; not exported")
    since = (stamps - stamps[0]).astype(np.float64)  # ns, small enough for a float's 53 bits
    count = max(0, int(np.ceil((since[-1] - SLACK_NS) * fps / SECOND)))
    times = np.arange(count) * (SECOND / fps)  # [N]
    newest = np.searchsorted(since, times + SLACK_NS, side="right") - 1  # [N] the last report known
    state = _interpolated(times, since, np.concatenate([_unflipped(pose), width, q], 1))
    state[:, 3:7] /= np.linalg.norm(state[:, 3:7], axis=1, keepdims=True)
    way = _way(since, sent[:, :-1], SECOND / control_hz)
    moved = _interpolated(times + SECOND / fps, *way) - _interpolated(times, *way)
    shown = {camera: _newest(shots, times + stamps[0]) for camera, shots in images.items() if shots}
    return Frames(
        state=state.astype(np.float32),
        action=np.concatenate([moved, sent[newest + 1, -1:]], 1).astype(np.float32),
        extra=extra[newest].astype(np.float32),
        extra_names=names,
        images={camera: jpegs for camera, (jpegs, _) in shown.items()},
        ages={camera: ages for camera, (_, ages) in shown.items()},
    )


def _way(since: Array, displacements: Array, period_ns: float) -> tuple[Array, Array]:
    """(times [K] ns, positions [K, 3] m): the way as it was commanded, each step during the period that ends with it.

    Without this, what was sent after a pause would be spread over the pause.
    """
    ends = np.cumsum(displacements, axis=0)
    begins = np.maximum(since[1:] - period_ns, since[:-1])
    times = np.concatenate([since[:1], np.stack([begins, since[1:]], 1).ravel()])
    positions = np.concatenate([ends[:1], np.stack([ends[:-1], ends[1:]], 1).reshape(-1, ends.shape[1])])
    return times, positions


def _interpolated(times: Array, known: Array, values: Array) -> Array:
    """[N, D] of `values` [K, D], known at [K] rising times."""
    return np.stack([np.interp(times, known, column) for column in values.T], 1)


def _unflipped(pose: Array) -> Array:
    """[n, 7] with quaternions whose sign does not jump: q and -q are one rotation, but not their mean."""
    flips = np.sign((pose[1:, 3:] * pose[:-1, 3:]).sum(1))
    signs = np.cumprod(np.concatenate([[1.0], np.where(flips < 0, -1.0, 1.0)]))
    return np.concatenate([pose[:, :3], pose[:, 3:] * signs[:, None]], 1)


def _newest(shots: Sequence[Image], times: Array) -> tuple[list[bytes], Array]:
    """The newest picture at each of [N] times in ns, before the first one the first, and how old it is, [N] s."""
    stamps = np.array([shot.stamp_ns for shot in shots], np.float64)
    index = np.searchsorted(stamps, times + SLACK_NS, side="right") - 1
    shown = np.maximum(0, index)
    return [shots[at].jpeg for at in shown], (times - stamps[shown]) / SECOND


def _column(steps: Sequence[Message], name: str, where: str) -> Array:
    """[n, D] of a key of /steps."""
    return _array([step.body.get(name) for step in steps], name, where)


def _extra(steps: Sequence[Message], where: str) -> tuple[Array, tuple[str, ...]]:
    """[n, E] of all extras, by name, and what its entries are."""
    bodies = [step.body.get("extra") for step in steps]
    first = bodies[0] if bodies else None
    if not isinstance(first, dict) or any(not isinstance(body, dict) or set(body) != set(first) for body in bodies):
        raise IntegrityError(f"{where}: expected the same `extra` in each message of /steps; not exported")
    parts = {name: _array([body[name] for body in bodies if body], name, where) for name in sorted(first)}
    names = tuple(f"{name}.{i}" for name, part in parts.items() for i in range(part.shape[1]))
    return np.concatenate([np.zeros((len(steps), 0)), *parts.values()], 1), names


def _array(values: Sequence[Any], name: str, where: str) -> Array:
    try:
        array = np.array(values, np.float64).reshape(len(values), -1)
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: {name} in /steps: expected numbers of one shape: {error}; not used") from error
    if not np.isfinite(array).all():
        raise IntegrityError(f"{where}: {name} in /steps: expected finite numbers; not used")
    return array
