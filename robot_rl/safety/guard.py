"""The guard: the one object that talks to the robot, and the last authority over whether it moves.

Every command passes the supervisor (epoch, deadlines, latched stops) and the filter (workspace, speed, seam) and is
then carried out for one control period; what is refused becomes a period of holding the pose, its cause recorded.

Two threads matter. One moves the robot: `submit` and `tick_hold` take turns. Any thread may call `stop` at any time.
A command is admitted and marked as on its way in one step under the state's lock, and `stop` raises the epoch under
the same lock, then waits until an older command that was on its way has ended its period: once `stop` has returned,
no command of an older epoch reaches the robot. Not for signal handlers: set a flag there, and stop from a thread.
The disk is written without the state's lock: neither a hold nor another STOP waits for it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_rl.clock import MS, Clock
from robot_rl.errors import RobotFault, StoreError
from robot_rl.protocols import Recoverable, Robot
from robot_rl.safety import supervisor
from robot_rl.safety.filter import check_chunk, filter_step
from robot_rl.safety.latch import read_latch, write_latch
from robot_rl.safety.limits import Limits
from robot_rl.types import Array, Cause, Command, CommandResult, Observation, RobotSpec, SafetyState, Verdict

if TYPE_CHECKING:
    from robot_rl.config import GuardConfig

DRIVER_PATIENCE_S = 2.0
"""How long `stop` waits for a driver to end its control period before it calls the driver hung."""
HISTORY = 256
"""Causes that are remembered after they cleared."""


class Guard:
    """Filter, watchdog and latch around one `Robot`; a `RobotPort`.

    Commands are carried out only while active (`set_active(True)`: an episode or homing runs). STOP and FAULT end that,
    so that clearing them never sets the robot in motion. With a `latch` file they outlive this process; without one
    (lockstep, tests) they live as long as the object. Raises `IntegrityError` for a latch file that cannot be read.
    """

    def __init__(
        self, robot: Robot, limits: Limits, config: GuardConfig, clock: Clock, latch: Path | None = None
    ) -> None:
        self._robot = robot
        self._limits = limits
        self._config = config
        self._clock = clock
        self._latch = latch
        self.brake: Callable[[], None] = lambda: None
        """Called as a STOP counts, on its thread: who waits for the next control period may begin it now, holding."""
        self._motion = threading.RLock()
        self._changed = threading.Condition()
        self._writing = threading.Lock()  # the latch file; taken before the state's lock, and never by who holds that
        self._on_its_way: int | None = None  # epoch of the command whose control period runs
        self._observation: Observation
        self._commanded: Array  # [3] m: where the robot was last told to be
        self._delta: Array  # [3] m: the displacement last sent
        self._history: deque[Cause] = deque(maxlen=HISTORY)
        self._state = supervisor.Supervision() if latch is None else supervisor.restarted(read_latch(latch))
        if latch is not None:
            write_latch(latch, self._state, "guard started")
        self.observe()
        self._anchor()

    @property
    def spec(self) -> RobotSpec:
        return self._robot.spec

    @property
    def safety(self) -> SafetyState:
        """Whether the robot may move now, the epoch to command under, and the causes, the most severe first."""
        with self._changed:
            self._update(supervisor.watched(self._state, self._config, self._clock.now_ns()))
            return supervisor.reported(self._state)

    @property
    def history(self) -> tuple[Cause, ...]:
        """The newest causes in the order they were raised, those that have cleared included."""
        with self._changed:
            return tuple(self._history)

    def observe(self) -> Observation:
        """The robot's newest observation. A driver that fails here is latched as FAULT, and `RobotFault` is raised."""
        with self._motion:
            error = self._look()
            if error is not None:
                raise RobotFault(f"the robot cannot be observed: {error}") from error
            return self._observation

    def begin(self) -> SafetyState:
        """Start from the measured pose (a new episode, a twin that was reset); the last displacement is zero again."""
        with self._motion:
            self.observe()
            self._anchor()
            return self.safety

    def set_active(self, active: bool) -> SafetyState:
        """Whether an episode or homing runs: only then are deadlines watched and commands carried out.

        Activating begins anew from the measured pose. While STOP or FAULT is latched it has no effect; the state
        returned says so, also of a robot that cannot be observed now.
        """
        with self._motion:
            if active and not self._state.active:
                with contextlib.suppress(RobotFault):  # latched by now
                    self.begin()
            with self._changed:
                self._update(supervisor.activated(self._state, active, self._clock.now_ns()))
            return self.safety

    def renew_operator(self) -> None:
        """An operator is there; to be called at least every `operator_ms` while active."""
        with self._changed:
            self._update(supervisor.renewed(self._state, self._clock.now_ns()))

    def check(self, chunk: Array) -> str | None:
        """Whether the filter would reject any row of `chunk` [T, A] from here: None, or why. Nothing is recorded."""
        with self._motion:
            return check_chunk(self._limits, self._commanded, self._delta, chunk)

    def submit(self, command: Command) -> CommandResult:
        """Carry out `command` for one control period, or hold for one, and say which and why."""
        with self._motion:
            self._refresh()
            step = filter_step(self._limits, self._commanded, self._delta, command.target)
            with self._changed:
                now_ns = self._clock.now_ns()
                state, refusal = supervisor.judged(self._state, command, self._config, now_ns)
                self._update(state)
                if refusal:
                    admitted, verdict, reason = None, Verdict.HELD, refusal
                else:
                    admitted, verdict, reason = step
                    if admitted is None:
                        self._update(supervisor.raised(state, "bad_action", reason, now_ns))
                    else:
                        self._update(supervisor.obeyed(state, now_ns))
                        self._on_its_way = command.epoch
            if admitted is None:
                return self._held(command, verdict, reason)
            return self._applied(command, admitted, verdict, reason)

    def tick_hold(self) -> Observation:
        """One control period without a command: hold. While active, `command_late` follows after `command_ms`."""
        with self._motion:
            with self._changed:
                self._update(supervisor.watched(self._state, self._config, self._clock.now_ns()))
            self._hold()
            return self._observation

    def stop(self, author: str, reason: str) -> SafetyState:
        """STOP: raise the epoch and latch. When it returns, no command of an older epoch reaches the robot any more.

        It takes effect at once and returns after the latch is on disk and the control period under way has ended. A
        disk that cannot be written or a driver that does not return shows as a further FAULT in the state returned.
        """
        with self._changed:
            self._raise("operator_stop", f"{reason} (by {author})")
            epoch = self._state.epoch
        self.brake()
        self._keep("operator_stop", author)
        with self._changed:
            ended = self._changed.wait_for(lambda: (self._on_its_way or epoch) >= epoch, timeout=DRIVER_PATIENCE_S)
        if not ended:
            self._latched("driver_hung", f"no end of the control period within {DRIVER_PATIENCE_S:g} s", "guard")
        with self._changed:
            return supervisor.reported(self._state)

    def clear(self, cause_id: str, author: str) -> SafetyState:
        """Clear the latched cause `cause_id`; the robot stays inactive. It is told when that was its own fault.

        Raises `IllegalTransition` for an id that is not latched now (stale, or clearing by itself), and `StoreError`
        when the latch file cannot be written: the cause then stays.
        """
        with self._writing:
            with self._changed:
                state = supervisor.cleared(self._state, cause_id)
                cause = next(cause for cause in self._state.causes if cause.id == cause_id)
            if self._latch is not None:
                try:
                    write_latch(self._latch, state, f"{cause_id} cleared by {author}")
                except OSError as error:
                    raise StoreError(f"{cause_id} stays latched: {self._latch} cannot be written: {error}") from error
            with self._changed:
                state = supervisor.cleared(self._state, cause_id)  # with whatever has been raised meanwhile
                if cause.kind == "robot_fault" and isinstance(self._robot, Recoverable):
                    self._robot.recover()
                self._update(state)
                return supervisor.reported(self._state)

    def _applied(self, command: Command, sent: Array, verdict: Verdict, reason: str) -> CommandResult:
        """One control period of motion, for an admitted command."""
        try:
            self._robot.apply(sent.copy())
        except Exception as error:  # whatever a driver raises: what the robot does now is unknown
            self._fault(error)
            sent, verdict, reason = self._still(), Verdict.HELD, f"FAULT: {error}"
        else:
            self._delta = sent[:3]
            self._commanded = self._commanded + self._delta
        finally:
            with self._changed:
                self._on_its_way = None
                self._changed.notify_all()
        self._look()
        return self._result(command, sent, verdict, reason)

    def _held(self, command: Command, verdict: Verdict, reason: str) -> CommandResult:
        self._hold()
        return self._result(command, self._still(), verdict, reason)

    def _hold(self) -> None:
        """One control period of holding; the next command starts from the pose measured after it, at rest."""
        try:
            self._robot.hold()
        except Exception as error:  # a driver that cannot even hold
            self._fault(error)
        self._look()
        self._anchor()

    def _still(self) -> Array:
        """[A] what a held step amounts to: no displacement, the gripper as it is."""
        return np.array([0.0, 0.0, 0.0, self._observation.gripper_width])

    def _result(self, command: Command, sent: Array, verdict: Verdict, reason: str) -> CommandResult:
        return CommandResult(command, sent, verdict, reason, self._clock.now_ns(), self._observation)

    def _anchor(self) -> None:
        """The commanded position is the measured one, at rest; from here it integrates what is sent."""
        self._commanded = np.array(self._observation.tcp_pose[:3], dtype=np.float64)
        self._delta = np.zeros(3)

    def _look(self) -> Exception | None:
        """Take the newest observation, or latch what the driver raised and return it."""
        try:
            observation = self._robot.observe()
            stamp_ns = observation.stamps_ns["robot"]
        except Exception as error:  # whatever a driver raises
            self._fault(error)
            return error
        self._observation = observation
        with self._changed:
            self._update(supervisor.observed(self._state, stamp_ns))
        return None

    def _refresh(self) -> None:
        """Look again if the last look is old: thinking time between two commands is no sign of a silent robot."""
        age_ns = self._clock.now_ns() - self._observation.stamps_ns["robot"]
        if age_ns > self._config.observation_ms * MS:
            self._look()

    def _fault(self, error: Exception) -> None:
        """Latch what a driver raised; once, however often it repeats it before an operator clears it."""
        with self._changed:
            if any(cause.kind == "robot_fault" for cause in self._state.causes):
                return
            self._raise("robot_fault", f"{type(error).__name__}: {error}")
        self._keep("robot_fault", "robot")

    def _latched(self, kind: str, detail: str, author: str) -> None:
        """Raise a latched cause in memory first, then on disk."""
        with self._changed:
            self._raise(kind, detail)
        self._keep(kind, author)

    def _raise(self, kind: str, detail: str) -> None:
        """In memory, where it counts from now on. The state's lock is held."""
        self._update(supervisor.raised(self._state, kind, detail, self._clock.now_ns()))

    def _keep(self, kind: str, author: str) -> None:
        """Write what is latched now, with `kind` in it; a failing disk is one more latched cause."""
        if self._latch is None:
            return
        with self._writing:
            with self._changed:
                state = self._state
            try:
                write_latch(self._latch, state, f"{kind} by {author}")
            except OSError as error:
                with self._changed:
                    self._raise(
                        "latch_failed", f"{kind} holds now, but would not survive a restart: {self._latch}: {error}"
                    )

    def _update(self, state: supervisor.Supervision) -> None:
        """Take over `state`, remembering the causes that are new in it. The state's lock is held."""
        known = {cause.id for cause in self._state.causes}
        self._history.extend(cause for cause in state.causes if cause.id not in known)
        self._state = state
