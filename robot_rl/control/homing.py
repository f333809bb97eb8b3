"""The retreat between two episodes: guarded like everything else, and interruptible."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robot_rl.clock import MS, Clock
from robot_rl.errors import RobotFault
from robot_rl.protocols import RobotPort
from robot_rl.types import Array, Command, CommandResult

BACK_OFF_M = 0.08
"""m along -x before anything else: out of whatever the fingers are in."""
TOLERANCE_M = 0.004
GAIN = 0.5
"""Fraction of the remaining way per control step: it settles without overshooting."""
MAX_STEPS = 200
HOMING_CHUNK = 0
"""Commands of the retreat belong to no chunk."""


def retreat(
    port: RobotPort,
    home: Array,
    *,
    gripper_m: float,
    command_ms: float,
    clock: Clock,
    between: Callable[[CommandResult], bool],
) -> bool:
    """Back off, then straight to `home` [3] m, opening the gripper to `gripper_m`; True when it has arrived.

    `between` is asked after every control step and ends the retreat by False (STOP, pause). Raises `RobotFault` when
    the arm does not get home within `MAX_STEPS`.
    """
    step_m = min(abs(value) for value in port.spec.action_space.high[:3])
    start = np.array(port.observe().tcp_pose[:3])
    waypoints = [np.array([max(home[0], start[0] - BACK_OFF_M), start[1], start[2]]), np.asarray(home, dtype=np.float64)]
    position = start
    for number in range(MAX_STEPS):
        if np.linalg.norm(waypoints[0] - position) < TOLERANCE_M:
            waypoints.pop(0)
        if not waypoints:
            return True
        delta = GAIN * (waypoints[0] - position)
        delta *= min(1.0, step_m / max(float(np.linalg.norm(delta)), 1e-9))
        deadline_ns = clock.now_ns() + round(command_ms * MS)
        target = np.concatenate([delta, [gripper_m]])
        result = port.submit(Command(target, deadline_ns, port.safety.epoch, HOMING_CHUNK, number))
        position = np.array(result.observation.tcp_pose[:3])
        if not between(result):
            return False
    raise RobotFault(
        f"the arm did not get home within {MAX_STEPS} control steps: it is at {np.round(position, 3).tolist()}, "
        f"home is {np.round(home, 3).tolist()} (m); is something in its way?"
    )
