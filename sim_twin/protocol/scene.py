"""The fast twin's scene as `franky-sim` steps it: the same model, starts, perception and judgement, other motors.

In the fast twin, position servos of the model move the arm. Here the server's joint controller does, as torques, with
the same gains; so what differs between the twins is the way from a command to the joints, and nothing of the task.
"""

from __future__ import annotations

import mujoco
import numpy as np
from franky_sim import BaseRobot, BaseSimulator, RobotParameters
from franky_sim.mujoco_simulator import MUJOCO_DEFAULT_KP, MUJOCO_DEFAULT_KV, FrankaMujocoRobot

from robot_rl.config import TaskConfig
from robot_rl.types import Array
from sim_twin.lid_opening import LidOpeningTwin

TICK_S = 0.001
"""s: the protocol's period."""
WEIGHTLESS = RobotParameters(gravity=(0.0, 0.0, 0.0))
"""The model's own compensation of the arm's weight stands for the robot's; the server's would come on top."""
PREFIX = ""
"""Of the names of the arm's joints in the model."""


class ProtocolScene(LidOpeningTwin):
    """What the simulation's process has of the twin: objects, starts, perception and truth. Nobody applies actions."""

    def __init__(self, task: TaskConfig, world: str) -> None:
        super().__init__(task, world)
        self.model.opt.timestep = TICK_S
        self.model.actuator_gainprm[:] = 0.0  # the servos of the fast twin
        self.model.actuator_biasprm[:] = 0.0
        # Torques of libfranka's are those at the links: the robot measures them there, and takes its friction out.
        self.model.dof_frictionloss[self._dofs] = 0.0

    def perceive(self) -> Array:
        """[4] m and rad: the bin's pose as perception has it now."""
        return self._read().extra["bin_pose"]

    @property
    def arm_joints(self) -> Array:
        """[7] rad."""
        joints: Array = self.data.qpos[self._joints].copy()
        return joints

    @property
    def tcp(self) -> Array:
        """[3] m: where the TCP really is."""
        return self._true_tcp()


class SceneSimulator(BaseSimulator):  # type: ignore[misc]  # franky-sim has no types
    """A `ProtocolScene` as the server steps it, a millisecond at a time."""

    def __init__(self, scene: ProtocolScene) -> None:
        super().__init__()
        self.scene = scene
        self.robot = FrankaMujocoRobot(
            initial_q=tuple(scene.arm_joints),
            initial_hand_width=scene.observe().gripper_width,
            robot_parameters=WEIGHTLESS,
            kp=tuple(np.array(MUJOCO_DEFAULT_KP) * scene.world.gain),
            kv=tuple(np.array(MUJOCO_DEFAULT_KV) * scene.world.damping),
        )
        self.robot._attach_to_scene(scene.model, scene.data, PREFIX)

    def _get_robots(self) -> list[BaseRobot]:
        return [self.robot]

    def _step(self) -> None:
        mujoco.mj_step(self.scene.model, self.scene.data)
