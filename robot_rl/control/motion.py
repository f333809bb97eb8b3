"""One control period after the other: commands are offered, and after each the operator is served.

Episodes and homing both move the robot through this, so a pause holds, a stop is seen and a command is heard between
any two control steps of either.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from robot_rl.clock import SECOND, Clock
from robot_rl.control.ports import GuardPort
from robot_rl.control.session import Session
from robot_rl.errors import RobotFault
from robot_rl.types import Array, Command, CommandResult, Observation, Verdict

LEEWAY = 2
"""Control periods after which a command is too old to be sent."""
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
        self._epoch = 0
        self._period_ns = round(SECOND / port.spec.control_hz)

    def begin(self) -> None:
        """The robot may move. Commands carry the epoch of this moment: a stop, even one cleared since, voids them."""
        self.tend()
        self._epoch = self.port.set_active(True).epoch

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

    def rest(self) -> None:
        """While the robot is paused in the middle of something: hold, and leave the processor to others."""
        time.sleep(IDLE_S)
        self.hold()

    def idle(self) -> None:
        """While nothing is under way: no control period passes, a simulated clock stands still."""
        time.sleep(IDLE_S)
        try:
            self.port.observe()
        except RobotFault as fault:  # latched by the guard: the session sees it next
            self.session.explain(str(fault))
        self.tend()

    def tend(self) -> None:
        """Serve the operator, and hear the guard."""
        self._pump()
        self.session.observe(self.port.safety)
