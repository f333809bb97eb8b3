"""One control period after the other: commands are offered, and after each the operator is served.

Episodes and homing both move the robot through this, so a pause holds, a stop is seen and a command is heard between
any two control steps of either.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable

from robot_rl.clock import SECOND, Clock
from robot_rl.control.ports import GuardPort
from robot_rl.control.session import Session
from robot_rl.errors import RobotFault
from robot_rl.types import Array, Command, CommandResult, Observation, SafetyLevel, Verdict

LEEWAY = 2
"""Control periods after which a command is too old to be sent."""
NO_EPOCH = -1
"""No command is sent under it."""
IDLE_S = 0.01
"""Wall-clock seconds to wait when nothing is to be done: a simulator that waits for a person need not spin."""


class Motion:
    """The robot's commands under one session; `pump` serves whoever talks to the actor and is called on its thread."""

    def __init__(self, port: GuardPort, session: Session, clock: Clock, pump: Callable[[], None]) -> None:
        self.port = port
        self.session = session
        self.clock = clock
        self.totals: Counter[Verdict] = Counter()
        """Verdicts since this process began."""
        self._pump = pump
        self._epoch = NO_EPOCH
        self._period_ns = round(SECOND / port.spec.control_hz)

    def begin(self) -> None:
        """The robot may move. Commands carry the epoch of this moment: a stop, even one cleared since, voids them."""
        self.tend()
        safety = self.port.set_active(True)
        self._epoch = safety.epoch if safety.level < SafetyLevel.STOP else NO_EPOCH

    @property
    def epoch(self) -> int:
        """The guard's safety epoch that commands carry."""
        return self._epoch

    @property
    def stopped(self) -> bool:
        """A STOP or a FAULT since `begin`, be it cleared by now or not."""
        return self.port.safety.epoch != self._epoch

    def end(self) -> None:
        """The robot is to stay where it is."""
        self.port.set_active(False)

    def step(self, target: Array, chunk_id: int, index: int) -> CommandResult:
        """Offer `target` [A] (SI) for the next control period, and serve the operator after it."""
        deadline_ns = self.clock.now_ns() + LEEWAY * self._period_ns
        result = self.port.submit(Command(target, deadline_ns, self._epoch, chunk_id, index))
        self.totals[result.verdict] += 1
        self.tend()
        return result

    def hold(self) -> Observation:
        """One control period of holding, and serve the operator after it."""
        observation = self.port.tick_hold()
        self.tend()
        return observation

    def rest(self) -> Observation:
        """While the robot is paused in the middle of something: hold, and leave the processor to others."""
        time.sleep(IDLE_S)
        return self.hold()

    def idle(self) -> None:
        """While nothing is under way: no control period passes, a simulated clock stands still."""
        time.sleep(IDLE_S)
        with contextlib.suppress(RobotFault):  # latched by the guard: the session hears of it next
            self.port.observe()
        self.tend()

    def tend(self) -> None:
        """Serve the operator, and hear the guard."""
        self._pump()
        self.session.observe(self.port.safety)
