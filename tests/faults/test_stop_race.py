"""Fault table, row 18: STOP races a command. After STOP is acknowledged, no command of an older epoch is sent.

One thread commands without a pause, the other stops, clears and starts again: 10,000 stops fall before, into and after
control periods. Each command carries its epoch in the gripper's width, so that the robot itself can tell.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.clock import SECOND
from robot_rl.config import GuardConfig
from robot_rl.safety import supervisor
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.testing.point_robot import PointRobot
from robot_rl.types import Array, Command, CommandResult, SafetyState, Verdict

INTERLEAVINGS = 10_000
LIMITS = Limits(np.full(3, -1e6), np.full(3, 1e6), 0.012, 0.012, 1.5, 0.0, 1.0)
FOREVER = GuardConfig(operator_ms=1e12, observation_ms=1e12, command_ms=1e12)
EPOCH_M = 1e-6
"""Gripper width that stands for one epoch."""


def dawdle(rng: random.Random) -> None:
    """Be overtaken, sometimes: give the processor away, or spin for up to 20 us."""
    luck = rng.random()
    if luck < 0.3:
        time.sleep(0)
    elif luck < 0.6:
        until = time.perf_counter_ns() + rng.randrange(20_000)
        while time.perf_counter_ns() < until:
            pass


class JitteryClock:
    """A clock that takes a while to be read: the guard reads it just before it decides."""

    def __init__(self) -> None:
        self.rng = random.Random(1)
        self.now = SECOND

    def now_ns(self) -> int:
        dawdle(self.rng)
        return self.now

    def sleep_until(self, stamp_ns: int) -> None:
        self.now = max(self.now, stamp_ns)


class WitnessRobot(PointRobot):
    """Knows which stop was acknowledged last; its commands take effect some time after the guard let them go."""

    def __init__(self) -> None:
        super().__init__(JitteryClock())
        self.rng = random.Random(2)
        self.acknowledged = 0
        self.moving = False
        self.sent = 0
        self.too_late: list[tuple[int, int]] = []

    def apply(self, target: Array) -> None:
        self.moving = True
        dawdle(self.rng)
        epoch = round(target[3] / EPOCH_M)
        self.sent += 1
        if epoch < self.acknowledged:
            self.too_late.append((epoch, self.acknowledged))
        super().apply(target)
        self.applied.clear()
        self.moving = False


def race(guard: Guard, robot: WitnessRobot, stops: int) -> tuple[Counter[Verdict], Counter[bool]]:
    """Race `stops` times: verdicts of all commands, and how many stops fell while the robot was moving or not."""
    rng, verdicts, moving, over = random.Random(0), Counter[Verdict](), Counter[bool](), threading.Event()

    def command() -> None:
        while not over.is_set():
            epoch = guard.safety.epoch
            dawdle(rng)
            target = np.array([0.001, 0.0, 0.0, epoch * EPOCH_M])
            verdicts[guard.submit(Command(target, 1 << 62, epoch, chunk_id=0, index=0)).verdict] += 1
            time.sleep(0)

    commander = threading.Thread(target=command, daemon=True)
    commander.start()
    try:
        for _ in range(stops):
            guard.set_active(True)
            before, moment = robot.sent, random.Random(robot.acknowledged)
            while robot.sent < before + moment.randrange(2):
                time.sleep(0)
            dawdle(moment)
            moving[robot.moving] += 1
            stopped = guard.stop("test", "race")
            robot.acknowledged = stopped.epoch
            for cause in stopped.causes:
                guard.clear(cause.id, "test")
    finally:
        over.set()
        commander.join(20)
    return verdicts, moving


@pytest.fixture
def robot() -> Iterator[WitnessRobot]:
    """With threads that take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield WitnessRobot()
    sys.setswitchinterval(before)


def test_no_command_of_an_old_epoch_follows_an_acknowledged_stop(robot: WitnessRobot) -> None:
    guard = Guard(robot, LIMITS, FOREVER, robot.clock)
    guard.renew_operator()
    verdicts, moving = race(guard, robot, INTERLEAVINGS)
    assert robot.too_late == []
    assert robot.acknowledged == INTERLEAVINGS + 1
    assert robot.sent == verdicts[Verdict.PASS]
    assert set(verdicts) == {Verdict.PASS, Verdict.HELD}
    assert min(verdicts[Verdict.PASS], verdicts[Verdict.HELD], moving[True], moving[False]) > INTERLEAVINGS // 100


class DoesNotWait(Guard):
    """Stops without waiting for the control period that runs."""

    def stop(self, author: str, reason: str) -> SafetyState:
        with self._changed:
            self._latched("operator_stop", reason, author)
            return supervisor.reported(self._state)


class IgnoresEpochs(Guard):
    """Sends what was made before a stop as soon as that is cleared."""

    def submit(self, command: Command) -> CommandResult:
        return super().submit(replace(command, epoch=self.safety.epoch))


@pytest.mark.parametrize("careless", [DoesNotWait, IgnoresEpochs])
def test_a_careless_guard_loses_the_race(robot: WitnessRobot, careless: type[Guard]) -> None:
    guard = careless(robot, LIMITS, FOREVER, robot.clock)
    guard.renew_operator()
    race(guard, robot, INTERLEAVINGS // 10)
    assert robot.too_late
