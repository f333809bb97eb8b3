"""The lid-opening twin: the scene as a `Robot`, stepped by its commands, with the truth that only a simulator knows."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import mujoco
import numpy as np

from robot_rl.clock import SECOND, Clock, SteppedClock
from robot_rl.config import TaskConfig
from robot_rl.twins import Split
from robot_rl.types import ActionSpace, Array, Observation, RobotSpec
from sim_twin.config import SceneConfig, parse_scene
from sim_twin.kinematics import CartesianArm
from sim_twin.scene import ARM_JOINTS, FINGER_JOINTS, build_scene
from sim_twin.starts import Start, draw_start

CONTROL_HZ = 20.0
STEP_M = 0.012
GRIPPER_MAX = 0.08
GRIPPER_M_S = 0.1
"""How fast the Franka hand changes its width at most (its data sheet: 50 mm/s a finger)."""
INTERPOLATION = 5
"""Joint targets per control step: the arm moves along, it does not jump."""
LEAD_M = 0.03
"""m: the commanded TCP never runs further ahead of the measured one than this (no wind-up against an obstacle)."""
FACING_X = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
"""The hand horizontal, looking along +x, its fingers opening along y."""

ACTION_SPACE = ActionSpace(
    kind="ee_delta",
    names=("dx", "dy", "dz", "gripper"),
    units=("m", "m", "m", "m"),
    low=(-STEP_M, -STEP_M, -STEP_M, 0.0),
    high=(STEP_M, STEP_M, STEP_M, GRIPPER_MAX),
)


@dataclass(frozen=True)
class Truth:
    """What really happened, from the simulation's state."""

    lid_angle: float
    """rad."""
    moved: float
    """m, of the bin over the table since the start."""
    tilt: float
    """rad, of the bin against the vertical."""
    success: bool
    failed: bool
    """The bin was pushed too far or fell over, or the hand went past it: it cannot succeed any more."""


class LidOpeningTwin:
    """A `Robot` that also resets its scene and knows the truth; `is_twin` lets an `AutoOperator` work it."""

    is_twin = True
    camera_process = "sim_twin.camera_process"
    _goal: Array  # [3] m: where the TCP is to be

    def __init__(
        self, task: TaskConfig, world: str = "twin", clock: Clock | None = None, *, whole: bool = False
    ) -> None:
        """Stamps are `clock`'s; a stepped one (lockstep, the default) is advanced by each control period.

        `whole` mends a broken ear: what demonstrations are recorded on.
        """
        self.scene: SceneConfig = parse_scene(task.scene)
        if whole:
            mended = self.scene.bin.model_copy(update={"broken_ear": "none"})
            self.scene = self.scene.model_copy(update={"bin": mended})
        self.world = self.scene.world(world)
        self.model = build_scene(self.scene, self.world)
        self.data = mujoco.MjData(self.model)
        self.clock = clock or SteppedClock()
        self.start = draw_start(Split.TRAIN, 0, 0, self.scene.starts, self.world)
        self._home = np.array(task.home)
        self._arm = CartesianArm(self.model, FACING_X)
        self._joints = np.array([self.model.joint(n).qposadr[0] for n in ARM_JOINTS])
        self._dofs = np.array([self.model.joint(n).dofadr[0] for n in ARM_JOINTS])
        self._motors = np.array([self.model.actuator(n).id for n in ARM_JOINTS])
        self._hand_motor = self.model.actuator("hand").id
        self._fingers = np.array([self.model.joint(n).qposadr[0] for n in FINGER_JOINTS])
        self._bin = self.model.joint("bin_free").qposadr[0]
        self._bin_dof = self.model.joint("bin_free").dofadr[0]
        self._lid = self.model.joint("lid_hinge").qposadr[0]
        self._lid_dof = self.model.joint("lid_hinge").dofadr[0]
        self._tcp = self.model.site("tcp").id
        self._substeps = round(1.0 / (CONTROL_HZ * self.world.timestep * INTERPOLATION))
        self._seq = 0
        self.reset(self.start)

    # --- Robot ---

    @property
    def spec(self) -> RobotSpec:
        return RobotSpec(name="fr3-twin", action_space=ACTION_SPACE, control_hz=CONTROL_HZ, joints=7)

    def observe(self) -> Observation:
        return self._observation

    def apply(self, target: Array) -> None:
        """One control period towards the last goal plus `target` [4] (m, m, m, width m)."""
        goal = self._goal + target[:3]
        lead = goal - self._true_tcp()
        self._goal = goal + np.clip(lead, -LEAD_M, LEAD_M) - lead
        reach = GRIPPER_M_S / CONTROL_HZ
        self._width += float(np.clip(target[3] - self._width, -reach, reach))
        self._driven = True
        self._move()

    def hold(self) -> None:
        """One control period of holding; commands still under way are dropped.

        The first one brakes: the motors follow the measured joints, so that their damping takes the speed out without a
        bounce. The next ones stay where that ended.
        """
        self._queue.clear()
        for _ in range(INTERPOLATION):
            if self._driven:
                self.data.ctrl[self._motors] = self.data.qpos[self._joints]
            mujoco.mj_step(self.model, self.data, nstep=self._substeps)
        self._driven = False
        self._goal = self._true_tcp()
        self._end_period()

    def close(self) -> None:
        """Nothing to release."""

    # --- what only a twin has ---

    def reset(self, start: Start) -> None:
        """Everything anew: the arm at home, the bin at `start`. The same start gives the same episode, bit for bit."""
        mujoco.mj_resetData(self.model, self.data)
        self._goal = self._home - np.array([0.0, 0.0, start.height_error])
        joints = self._arm.reset(self._goal)
        self.data.qpos[self._joints] = joints
        self.data.ctrl[self._motors] = joints
        self._width = GRIPPER_MAX / 2
        self.data.qpos[self._fingers] = self._width / 2
        self.data.ctrl[self._hand_motor] = self._hand_control()
        self._driven = False
        self._queue: deque[tuple[Array, float]] = deque()
        self.reset_objects(start)

    def reset_objects(self, start: Start) -> None:
        """Put the bin back, lid closed, at `start`; the arm stays where it is, as when a person does it."""
        self.start = start
        self._rng = np.random.default_rng(start.seed)
        quat = [np.cos(start.yaw / 2), 0.0, 0.0, np.sin(start.yaw / 2)]
        self.data.qpos[self._bin : self._bin + 7] = [start.x, start.y, self.scene.table_height, *quat]
        self.data.qvel[self._bin_dof : self._bin_dof + 6] = 0.0
        self.data.qpos[self._lid] = 0.0
        self.data.qvel[self._lid_dof] = 0.0
        mujoco.mj_forward(self.model, self.data)
        self._observation = self._read()

    def draw(self, split: int, seed: int, episode: int) -> Start:
        """A start of this task's distribution."""
        return draw_start(split, seed, episode, self.scene.starts, self.world)

    @property
    def joint_positions(self) -> Array:
        """[nq]: the scene's whole configuration, all that its pictures depend on."""
        positions: Array = self.data.qpos.copy()
        return positions

    def truth(self) -> Truth:
        """Judged from the state of the simulation."""
        limits = self.scene.success
        angle = float(self.data.qpos[self._lid])
        x, y = self.data.qpos[self._bin : self._bin + 2]
        moved = float(np.hypot(x - self.start.x, y - self.start.y))
        upright = float(self.data.xmat[self.model.body("bin").id, 8])
        tilt = float(np.arccos(np.clip(upright, -1.0, 1.0)))
        missed = angle < limits.ajar and self._past_bin() > limits.overshoot
        failed = moved > limits.moved or tilt > limits.tilt or missed
        return Truth(angle, moved, tilt, success=angle > limits.lid_angle and not failed, failed=failed)

    # --- inside ---

    def _past_bin(self) -> float:
        """How far (m) the TCP is behind the bin's hinge, along the direction in which the bin looks."""
        bin_id = self.model.body("bin").id
        backward = self.data.xmat[bin_id, [0, 3]]
        offset = self._true_tcp()[:2] - self.data.xpos[bin_id, :2]
        return float(backward @ offset) - self.scene.bin.depth / 2

    def _true_tcp(self) -> Array:
        position: Array = self.data.site_xpos[self._tcp].copy()
        return position

    def _hand_control(self) -> float:
        return 255.0 * self._width / GRIPPER_MAX

    def _move(self) -> None:
        """Carry out the goal of `delay_steps` ago, interpolated over one control period."""
        self._queue.append((self._goal.copy(), self._hand_control()))
        if len(self._queue) > self.world.delay_steps:
            goal, hand = self._queue.popleft()
            before = self.data.ctrl[self._motors].copy()
            after = self._arm.track(goal)
            self.data.ctrl[self._hand_motor] = hand
        else:
            before = after = self.data.ctrl[self._motors].copy()
        for part in range(1, INTERPOLATION + 1):
            self.data.ctrl[self._motors] = before + (after - before) * (part / INTERPOLATION)
            mujoco.mj_step(self.model, self.data, nstep=self._substeps)
        self._end_period()

    def _end_period(self) -> None:
        if isinstance(self.clock, SteppedClock):
            self.clock.advance(round(SECOND / CONTROL_HZ))
        self._observation = self._read()

    def _read(self) -> Observation:
        """Proprioception as the robot believes it, and the bin's pose as perception has it."""
        self._seq += 1
        now = self.clock.now_ns()
        position = self._true_tcp() + np.array([0.0, 0.0, self.start.height_error])
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, self.data.site_xmat[self._tcp])
        w, qx, qy, qz = self.data.qpos[self._bin + 3 : self._bin + 7]
        yaw = np.arctan2(2 * (w * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
        pose = np.array([*self.data.qpos[self._bin : self._bin + 3], yaw])
        noise = self.scene.perception
        pose += self._rng.standard_normal(4) * [noise.position_std, noise.position_std, 0.0, noise.yaw_std]
        return Observation(
            seq=self._seq,
            stamps_ns={"robot": now, "bin_pose": now},
            q=self.data.qpos[self._joints].copy(),
            dq=self.data.qvel[self._dofs].copy(),
            tcp_pose=np.concatenate([position, quat[[1, 2, 3, 0]]]),
            gripper_width=float(self.data.qpos[self._fingers].sum()),
            wrench=np.zeros(6),
            extra={"bin_pose": pose},
        )
