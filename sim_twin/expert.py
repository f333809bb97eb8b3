"""The scripted expert of lid opening: two modes, one per ear, with named imperfections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_rl.types import Array, Observation
from sim_twin.config import ExpertConfig, SceneConfig
from sim_twin.lid_opening import STEP_M

APPROACH_M = 0.05
"""m before the ear's front, where the gripper waits to be aligned."""
INSERT_M = 0.005
"""m that the TCP goes past the ear's front; the fingertips reach 8 mm further."""
GAIN = 0.5
"""Fraction of the remaining way that the expert asks for in one step: it settles without overshooting."""
CRUISE = 0.9
"""Fraction of the largest step that the expert uses."""


@dataclass
class Expert:
    """Commits early: first to the ear's y, then down to the slot, in, and up along the lid's arc.

    Works in the robot's own frame (what the robot believes), as a person with a joystick would on a calibrated robot.
    """

    scene: SceneConfig
    config: ExpertConfig
    rng: np.random.Generator

    def __post_init__(self) -> None:
        """Draw this episode's mode and height error."""
        left = self.config.ears == "left" or (self.config.ears == "both" and self.rng.random() < self.config.left_share)
        self.side = 1.0 if left else -1.0
        self.height = self.config.height_bias + self.config.height_std * self.rng.standard_normal()
        self.phase = "align"

    def act(self, observation: Observation) -> Array:
        """One action [4], SI units."""
        delta = self._towards(observation) + self.config.noise_std * self.rng.standard_normal(3)
        return np.concatenate([np.clip(delta, -STEP_M, STEP_M), [self.config.gripper_width]])

    def slot(self, observation: Observation) -> tuple[Array, Array, Array]:
        """Where the TCP goes in below its ear's front [3] m, and the directions forward and leftward [3] of the bin."""
        shape = self.scene.bin
        x, y, _, yaw = observation.extra["bin_pose"]
        forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        leftward = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        base = np.array([x, y, self.scene.table_height])
        ear_front = base - (shape.depth / 2 + shape.ear_reach) * forward + self.side * shape.ear_y * leftward
        return ear_front + np.array([0.0, 0.0, shape.slot_height + self.height]), forward, leftward

    def _towards(self, observation: Observation) -> Array:
        shape = self.scene.bin
        slot, forward, leftward = self.slot(observation)
        base = np.array([*observation.extra["bin_pose"][:2], self.scene.table_height])
        tcp = observation.tcp_pose[:3]
        if self.phase == "align":
            goal = slot - APPROACH_M * forward
            if np.linalg.norm(goal - tcp) < 0.006:
                self.phase = "insert"
        if self.phase == "insert":
            goal = slot + INSERT_M * forward
            if np.dot(goal - tcp, forward) < 0.005:
                self.phase = "open"
                self.angle = 0.0
        if self.phase == "open":
            # Along the arc of the ear about the hinge, a little ahead of where the finger is.
            radius = shape.depth + shape.ear_reach - INSERT_M
            hinge = base + (shape.depth / 2) * forward + [0.0, 0.0, shape.height]
            self.angle = min(self.angle + CRUISE * STEP_M / radius, 1.9)
            drop = shape.ear_drop + shape.slot / 2 - self.height
            reach, rise = -radius * np.cos(self.angle), radius * np.sin(self.angle) - drop
            goal = hinge + reach * forward + self.side * shape.ear_y * leftward + np.array([0.0, 0.0, rise])
        step: Array = goal - tcp if self.phase == "open" else GAIN * (goal - tcp)
        length = float(np.linalg.norm(step))
        limit = CRUISE * STEP_M
        return step if length <= limit else step * (limit / length)
