"""A Franka arm as a `Robot`: Cartesian targets at the control rate, followed by an impedance controller at 1 kHz.

The controller (franky's, in a thread of its own) pulls the hand towards the newest target with a bounded force and
comes to rest there: a caller that falls silent leaves the hand at most `lead_m` from where it was, and what the
feedforward of the last step adds (20 mm at full speed). Whatever ends the control loop (a reflex, a limit, the network)
is raised as a typed `RobotFault`, and nothing moves until an operator has cleared it at the guard, which calls
`recover`.
"""

from __future__ import annotations

from typing import Any, NoReturn

import franky
import numpy as np

from robot_rl.clock import SECOND, Clock, RealClock
from robot_rl.drivers.franka_config import FrankaConfig
from robot_rl.drivers.franka_hand import FrankaHand
from robot_rl.errors import RobotFault, RobotLost, RobotReflex
from robot_rl.processes import own_schedule
from robot_rl.types import ActionSpace, Array, Observation, RobotSpec

JOINTS = 7
STOP_S = 2.0
"""Within this the arm has come to rest at the end."""
RECOVERY_S = 1.0
"""Within this a robot that was asked to recover reports no error any more."""
STILL: Array = np.zeros(3)
EARLY = 0.25
"""Part of a control period by which one may be shorter, so that a caller who was late catches up."""


class FrankaRobot:
    """See the module. Raises `RobotLost` when there is no robot at the address."""

    _robot: Any  # franky.Robot, which has no types; None while there is none
    _hand: FrankaHand
    _goal: Array  # [3] m: where the hand is to be

    def __init__(self, config: FrankaConfig, clock: Clock | None = None) -> None:
        """It connects, and does not move; a robot in reflex mode is a fault from the start."""
        self._config = config
        self._clock = clock or RealClock()
        self._period_ns = round(SECOND / config.control_hz)
        self._orientation = np.array(config.orientation) / np.linalg.norm(config.orientation)
        self._motion: franky.CartesianImpedanceTrackingMotion | None = None
        self._driven = False
        self._fault: RobotFault | None = None
        self._recovering = False
        self._closed = False
        self._seq = 0
        self._robot_ms = -1
        self._stamp_ns = 0
        self._due = 0
        self._connect()
        self._observation = self._read()
        self._goal = self._observation.tcp_pose[:3].copy()

    @property
    def spec(self) -> RobotSpec:
        step, width = self._config.step_m, self._config.gripper.max_width
        space = ActionSpace(
            kind="ee_delta",
            names=("dx", "dy", "dz", "gripper"),
            units=("m", "m", "m", "m"),
            low=(-step, -step, -step, 0.0),
            high=(step, step, step, width),
        )
        return RobotSpec(name="franka", action_space=space, control_hz=self._config.control_hz, joints=JOINTS)

    @property
    def address(self) -> str:
        """Of the control unit."""
        return self._config.address

    @property
    def faulted(self) -> bool:
        """Whether it has stopped and waits for `recover`."""
        return self._fault is not None

    def observe(self) -> Observation:
        """The robot's newest state, stamped when it was first seen: one that is not renewed grows old.

        After a fault that was told already, the last one; a robot that can still be read is read.
        """
        if not isinstance(self._fault, RobotLost):
            try:
                self._check()
                self._observation = self._read()
            except RobotFault as error:
                self._fail(error)
        return self._observation

    def apply(self, target: Array) -> None:
        """One control period towards the last goal plus `target` [4] (m, m, m, width m), on a straight line."""
        if self._fault is not None:
            self._wait()
            raise self._fault
        try:
            self._check()
            motion = self._engaged()
            begin = self._goal
            goal = begin + target[:3]
            lead = goal - _xyz(self._robot.state.O_T_EE)
            self._goal = goal + np.clip(lead, -self._config.lead_m, self._config.lead_m) - lead
            self._hand.go(float(target[3]))
            self._driven = True
            end, parts = self._next_due(), self._config.interpolation
            begin_ns = self._clock.now_ns()
            speed = (self._goal - begin) * self._config.control_hz
            for part in range(1, parts + 1):
                self._follow(motion, begin + (self._goal - begin) * (part / parts), speed)
                self._clock.sleep_until(begin_ns + (end - begin_ns) * part // parts)
            self._check()
        except Exception as error:  # whatever the SDK raises: the robot has stopped, or nobody knows what it does
            self._fail(error)

    def hold(self) -> None:
        """One control period of holding. The first one brakes: the target becomes the measured position."""
        if self._recovering:
            self._recover()
        elif self._fault is None:
            try:
                self._check()  # first: a state is waited for where the control loop has ended
                if self._driven and self._motion is not None:
                    self._goal = _xyz(self._robot.state.O_T_EE)
                    self._follow(self._motion, self._goal)
                    self._hand.stay()
                self._driven = False
            except Exception as error:  # as in `apply`
                self._wait()
                self._fail(error)
        self._wait()

    def recover(self) -> None:
        """An operator has cleared the fault: the next `hold` asks the robot to recover, or connects to it anew."""
        self._recovering = self._fault is not None

    def release(self) -> None:
        """End the control loop, at rest; the robot holds by itself. The next `apply` takes control again."""
        self._motion, self._driven = None, False
        if self._robot is not None and self._robot.is_in_control:
            try:
                self._robot.move(franky.TorqueStopMotion(), asynchronous=True)
                if not self._robot.join_motion(STOP_S):
                    raise RobotReflex(f"the arm has not come to rest within {STOP_S:g} s")
            except Exception as error:  # as in `apply`
                self._fail(error)

    def close(self) -> None:
        """A controlled stop, then the connection ends."""
        if self._closed:
            return
        self._closed = True
        try:
            self.release()
        except RobotFault:
            pass  # what could be stopped has stopped, and nobody is left to be told
        finally:
            self._hand.close()
            self._robot = None

    # --- inside ---

    def _connect(self) -> None:
        config = self._config
        enforce = config.realtime_config == "enforce"
        realtime = franky.RealtimeConfig.Enforce if enforce else franky.RealtimeConfig.Ignore
        try:
            with own_schedule():  # libfranka's control loop takes its own
                self._robot = franky.Robot(config.address, realtime_config=realtime)
            limits = config.collision
            self._robot.set_collision_behavior(
                limits.contact_torque, limits.collision_torque, limits.contact_force, limits.collision_force
            )
        except Exception as error:  # the SDK raises several kinds without a common base
            raise RobotLost(
                f"no Franka at {config.address}: {error}; expected FCI active, joints unlocked"
                + (", and a real-time kernel (realtime_config: ignore is for simulated robots)" if enforce else "")
            ) from error
        self._hand = FrankaHand(config.address, config.gripper)
        self._motion, self._robot_ms = None, -1

    def _engaged(self) -> franky.CartesianImpedanceTrackingMotion:
        """The motion that follows targets, begun from the measured position if it does not run."""
        if self._motion is not None:
            return self._motion
        config, gains = self._config, self._config.impedance
        state = self._robot.state
        turned = 2 * float(np.arccos(np.clip(abs(_xyzw(state.O_T_EE) @ self._orientation), 0.0, 1.0)))
        if turned > config.orientation_tolerance:
            raise RobotReflex(
                f"the hand is turned {turned:.2f} rad away from the configured orientation, expected at most "
                f"{config.orientation_tolerance:g}; guide the arm to {list(config.home)} rad first"
            )
        motion = franky.CartesianImpedanceTrackingMotion(
            translational_stiffness=gains.translation,
            rotational_stiffness=gains.rotation,
            posture_task=franky.PostureTask(np.array(config.home), gains.posture),
            translational_error_clip=np.full(3, config.lead_m),
        )
        stiffness = np.array([gains.translation] * 3 + [gains.rotation] * 3)
        set_gains = motion.get_gains()
        set_gains.damping = np.diag(2 * gains.damping * np.sqrt(stiffness))
        motion.set_gains(set_gains)
        self._goal = _xyz(state.O_T_EE)
        self._follow(motion, self._goal)
        self._robot.move(motion, asynchronous=True)
        self._motion = motion
        return motion

    def _follow(self, motion: franky.CartesianImpedanceTrackingMotion, position: Array, speed: Array = STILL) -> None:
        """Make `position` [3] m the target, which moves at `speed` [3] m/s."""
        twist = franky.Twist(self._config.impedance.feedforward * speed, STILL)
        target = franky.Affine(position, self._orientation)
        motion.set_reference(franky.CartesianReference(target=target, target_twist=twist))

    def _check(self) -> None:
        """Raises if the control loop has ended, or the robot reports an error."""
        if self._motion is not None:
            self._robot.poll_motion()  # raises what ended the loop
            if not self._robot.is_in_control:
                raise RobotReflex("the control loop has ended without a word")
        elif self._fault is None and self._robot.has_errors:
            raise RobotReflex("the robot reports an error")

    def _read(self) -> Observation:
        """Stamps are the host's: of when a state was first seen."""
        try:
            state, width = self._robot.state, self._hand.width
        except RobotFault:
            raise
        except Exception as error:  # as in `_connect`
            raise RobotLost(f"the robot does not report its state: {error}") from error
        robot_ms = state.time.to_msec()
        if robot_ms != self._robot_ms:
            self._robot_ms, self._stamp_ns = robot_ms, self._clock.now_ns()
            self._seq += 1
        return Observation(
            seq=self._seq,
            stamps_ns={"robot": self._stamp_ns},
            q=np.array(state.q, dtype=np.float64).ravel(),
            dq=np.array(state.dq, dtype=np.float64).ravel(),
            tcp_pose=np.concatenate([_xyz(state.O_T_EE), _xyzw(state.O_T_EE)]),
            gripper_width=width,
            wrench=np.array(state.O_F_ext_hat_K, dtype=np.float64).ravel(),
        )

    def _fail(self, error: Exception) -> NoReturn:
        """Remember and raise what has happened, as a `RobotFault` with the robot's own words."""
        fault = error if isinstance(error, RobotFault) else self._typed(error)
        motion, self._motion, self._driven = self._motion, None, False
        self._fault = fault
        self._hand.stay()
        if error is fault and motion is not None and self._robot.is_in_control:  # the hand's fault: the arm brakes
            self._follow(motion, _xyz(self._robot.state.O_T_EE))
        raise fault from error

    def _typed(self, error: Exception) -> RobotFault:
        if isinstance(error, franky.NetworkException):
            return RobotLost(f"the connection to {self._config.address} is gone: {error}")
        return RobotReflex(f"{error}{self._errors()}")

    def _errors(self) -> str:
        """Which of the robot's errors are set, in its own words."""
        try:
            state = self._robot.state
            return f" (now: {state.current_errors}, of the last motion: {state.last_motion_errors})"
        except Exception as error:  # only words are lost
            return f" (its errors cannot be read: {error})"

    def _recover(self) -> None:
        """Raises a new fault if the robot stays as it is."""
        self._recovering = False
        try:
            if isinstance(self._fault, RobotLost):
                self._hand.close()
                self._robot = None  # a robot has one client: the old connection ends first
                self._connect()
            elif self._robot.has_errors:
                self._ask_to_recover()
            self._fault = None
            self._observation = self._read()
            self._goal = self._observation.tcp_pose[:3].copy()
        except Exception as error:  # as in `apply`
            self._fail(error)

    def _ask_to_recover(self) -> None:
        """The robot's automatic error recovery; its answer may come before the first state without the error."""
        self._robot.recover_from_errors()
        deadline_ns = self._clock.now_ns() + round(RECOVERY_S * SECOND)
        while self._robot.has_errors:
            if self._clock.now_ns() > deadline_ns:
                raise RobotReflex(f"the robot does not recover{self._errors()}: see its own page (Desk)")
            self._clock.sleep_until(self._clock.now_ns() + SECOND // 100)

    def _next_due(self) -> int:
        """When the control period that begins now ends: the rhythm is kept, within bounds."""
        self._due = max(self._due, self._clock.now_ns() - round(EARLY * self._period_ns)) + self._period_ns
        return self._due

    def _wait(self) -> None:
        self._clock.sleep_until(self._next_due())


def _xyz(pose: franky.Affine) -> Array:
    """[3] m."""
    return np.array(pose.translation, dtype=np.float64).ravel()


def _xyzw(pose: franky.Affine) -> Array:
    """[4]."""
    return np.array(pose.quaternion, dtype=np.float64).ravel()
