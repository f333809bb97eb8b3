"""The way home: back from the object, up, and over to where episodes begin; guarded and interruptible."""

from __future__ import annotations

import math

import numpy as np

from robot_rl.control.motion import Motion
from robot_rl.errors import ArmStuck
from robot_rl.types import Array, Verdict

BACK_M = 0.06
"""How far to back off along -x, unless home is nearer."""
HOME_M = 0.003
"""This near to home is there."""
NEAR_M = 0.02
"""This near to a waypoint on the way is passed."""
GAIN = 0.3
"""Share of the remaining way asked for in one step: a robot that follows three control periods late still settles."""
HOMING_CHUNK = -1
"""Chunk id of commands that belong to none."""
SLACK = 40
"""Steps that a leg may take on top of twice what its length needs."""


def retreat(motion: Motion, home_xyz: Array) -> bool:
    """Take the TCP to `home_xyz` [3] m in `ee_delta` steps, the gripper as it is; False when stopped on the way.

    A leg on the way is given up for the next one when its steps are spent (an obstacle, the workspace's wall). Raises
    `ArmStuck` when that happens on the last one.
    """
    motion.begin()
    try:
        start = motion.port.observe()
        xyz, width = start.tcp_pose[:3], start.gripper_width
        back = np.array([min(xyz[0], max(xyz[0] - BACK_M, home_xyz[0])), xyz[1], xyz[2]])
        up = np.array([back[0], back[1], max(xyz[2], home_xyz[2])])
        for goal in (back, up):
            _approach(motion, goal, width, NEAR_M)
        distance = _approach(motion, home_xyz, width, HOME_M)
    finally:
        motion.end()
    if motion.stopped:
        return False
    if distance > HOME_M:
        raise ArmStuck(f"homing: expected the TCP within {HOME_M} m of home, it stays {distance:.4f} m away; free it")
    return True


def _approach(motion: Motion, goal: Array, width: float, near_m: float) -> float:
    """Steps towards `goal` [3] m until within `near_m`, stopped, or out of steps; m that remain."""
    step_m = min(motion.port.spec.action_space.high[:3])
    remaining = goal - motion.port.observe().tcp_pose[:3]
    budget = SLACK + 2 * math.ceil(float(np.linalg.norm(remaining)) / step_m)
    while (distance := float(np.linalg.norm(remaining))) > near_m and budget > 0 and not motion.stopped:
        if motion.session.paused:
            observation = motion.rest()
        else:
            delta = remaining * min(GAIN, step_m / distance)
            result = motion.step(np.array([*delta, width]), chunk_id=HOMING_CHUNK, index=0)
            observation = result.observation
            budget -= result.verdict is not Verdict.HELD
        remaining = goal - observation.tcp_pose[:3]
    return distance
