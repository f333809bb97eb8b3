"""The safety filter: what of an action may be sent. Pure functions, no state, no time.

A displacement is limited three times, in this order:

1. step: shortened to `step_m`;
2. seam: moved towards the last displacement until the change is at most `seam_m`. Between two displacements that are
   short enough lie only such, so the step limit still holds;
3. workspace: each coordinate kept inside. This only takes away motion outwards, so the step limit still holds; the seam
   limit may not, since stopping at a wall comes before smoothness.

Where the robot already is outside the workspace it may come back or stay, but go no further out. Step or seam beyond
`tolerance` times their limit are no slip but an error: rejected. The gripper's width is clipped into its range.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from robot_rl.safety.limits import Limits
from robot_rl.types import Array, Verdict

ROUNDING_M = 1e-6
"""A change smaller than this (float32 against float64) is not called a clip."""


class Filtered(NamedTuple):
    """What the filter made of one action."""

    sent: Array | None
    """[A] float64, within the limits; None when rejected: nothing of it may be sent."""
    verdict: Verdict
    """PASS, CLIPPED or REJECTED."""
    reason: str
    """Empty for PASS."""


def filter_step(limits: Limits, commanded_xyz: Array, last_delta: Array, target: Array) -> Filtered:
    """Limit one action `target` [A = 4] (m, m, m, m).

    `commanded_xyz` [3] m is where the robot was last told to be, `last_delta` [3] m the displacement last sent.
    """
    if target.shape != (4,) or target.dtype.kind not in "fiu":
        return _rejected(f"expected 4 real numbers, got {target.dtype} {list(target.shape)}")
    if not np.isfinite(target).all():
        return _rejected(f"expected finite numbers, got {target.tolist()}")
    if not (np.isfinite(commanded_xyz).all() and np.isfinite(last_delta).all()):
        return _rejected(f"the robot's position is not known: {commanded_xyz.tolist()} after {last_delta.tolist()}")

    delta = target[:3].astype(np.float64)
    step = math.hypot(*delta)
    if step > limits.step_m * limits.tolerance:
        return _rejected(f"step of {step:.4g} m, allowed {limits.step_m:g} m (x {limits.tolerance:g} is clipped)")
    short = _shortened(delta, limits.step_m)

    change = short - last_delta
    seam = math.hypot(*change)
    if seam > limits.seam_m * limits.tolerance:
        return _rejected(f"change of {seam:.4g} m, allowed {limits.seam_m:g} m (x {limits.tolerance:g} is clipped)")
    smooth = short - (change - _shortened(change, limits.seam_m))  # exactly `short` where nothing is taken off

    room_low = np.minimum(limits.workspace_low - commanded_xyz, 0.0)
    room_high = np.maximum(limits.workspace_high - commanded_xyz, 0.0)
    inside = np.clip(smooth, room_low, room_high)
    width = min(max(float(target[3]), limits.gripper_low), limits.gripper_high)

    clips = {
        "step": math.dist(delta, short),
        "seam": math.dist(short, smooth),
        "workspace": math.dist(smooth, inside),
        "gripper": abs(target[3] - width),
    }
    reason = ", ".join(f"{name} clipped by {by:.4g} m" for name, by in clips.items() if by > ROUNDING_M)
    return Filtered(np.array([*inside, width]), Verdict.CLIPPED if reason else Verdict.PASS, reason)


def check_chunk(limits: Limits, tcp_xyz: Array, last_delta: Array, chunk: Array) -> str | None:
    """Whether a whole `chunk` [T, A] may be started at `tcp_xyz` [3] m: None, or why not.

    Rejected is a chunk with any row that `filter_step` would reject when its turn comes, and one whose path as planned
    leaves the workspace by more than `tolerance` steps: clipped at the wall, it would be another plan.
    """
    if chunk.ndim != 2 or len(chunk) == 0:
        return f"expected a chunk [T, 4] with T > 0, got {list(chunk.shape)}"
    outside = limits.step_m * limits.tolerance
    low = np.minimum(limits.workspace_low, tcp_xyz) - outside
    high = np.maximum(limits.workspace_high, tcp_xyz) + outside
    planned = commanded = tcp_xyz
    for index, target in enumerate(chunk):
        sent, _, reason = filter_step(limits, commanded, last_delta, target)
        if sent is None:
            return f"step {index} of {len(chunk)}: {reason}"
        planned = planned + target[:3]
        if np.any(planned < low) or np.any(planned > high):
            return f"step {index} of {len(chunk)}: {planned.round(4).tolist()} m is outside the workspace"
        last_delta = sent[:3]
        commanded = commanded + last_delta
    return None


def _shortened(vector: Array, longest: float) -> Array:
    """`vector` [3], its length at most `longest`."""
    return vector * (longest / max(longest, math.hypot(*vector)))


def _rejected(reason: str) -> Filtered:
    return Filtered(None, Verdict.REJECTED, reason)
