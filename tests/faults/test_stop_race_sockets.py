"""Fault table, row 18, on the way that a graph's commands and stops take: the guard behind its sockets.

Commands come over the guard's socket, as the actor's do. Every other STOP comes so too, as the page's, and the others
from a thread of the guard's own process, as the service `robot/stop` does. The robot knows which stop was acknowledged
last.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from robot_rl.clock import SECOND, RealClock
from robot_rl.errors import DeadlineMissed
from robot_rl.safety.guard import Guard
from robot_rl.services.guard import GuardClient, serve_guard
from robot_rl.testing.point_robot import SPEC, PointRobot
from robot_rl.types import Array, Command, RobotSpec, Verdict
from tests.faults.test_stop_race import EPOCH_M, FOREVER, LIMITS, dawdle

STOPS = 1_000
"""10,000 interleavings of the guard itself are in test_stop_race.py; a socket takes ten times as long."""
CONTROL_HZ = 2000.0


class FastRobot(PointRobot):
    """Knows which stop was acknowledged last; told at 2 kHz, in real time."""

    spec: RobotSpec = replace(SPEC, control_hz=CONTROL_HZ)  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(RealClock())
        self.rng = random.Random(2)
        self.acknowledged = self.sent = 0
        self.too_late: list[tuple[int, int]] = []

    def apply(self, target: Array) -> None:
        epoch = round(target[3] / EPOCH_M)
        dawdle(self.rng)
        self.sent += 1
        if epoch < self.acknowledged:
            self.too_late.append((epoch, self.acknowledged))
        self._stamp_ns = self.clock.now_ns()

    def hold(self) -> None:
        self._stamp_ns = self.clock.now_ns()


@pytest.mark.timeout(60)
def test_no_command_of_an_old_epoch_follows_a_stop_that_was_acknowledged_over_a_socket_or_beside_it() -> None:
    robot, stopping, verdicts = FastRobot(), threading.Event(), Counter[Verdict]()
    with TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/guard"
        guard = Guard(robot, LIMITS, FOREVER, robot.clock, None)
        serving = threading.Thread(target=serve_guard, args=(guard, endpoint, stopping))
        serving.start()
        actor, page, session = (GuardClient(endpoint, timeout_s=5.0) for _ in range(3))
        page.renew_operator()

        def command() -> None:
            while not stopping.is_set():
                epoch = actor.safety.epoch
                target = np.array([0.0, 0.0, 0.0, epoch * EPOCH_M])
                try:
                    sent = actor.submit(Command(target, time.monotonic_ns() + SECOND, epoch, chunk_id=0, index=0))
                    verdicts[sent.verdict] += 1
                except DeadlineMissed:  # the guard has ended
                    return

        commanding = threading.Thread(target=command)
        commanding.start()
        try:
            for number in range(STOPS):
                session.set_active(True)
                before, moment = robot.sent, random.Random(number)
                while robot.sent < before + moment.randrange(2):
                    time.sleep(0)
                dawdle(moment)
                stopped = page.stop("test", "race") if number % 2 else guard.stop("test", "race")
                robot.acknowledged = stopped.epoch
                for cause in stopped.causes:
                    guard.clear(cause.id, "test")
        finally:
            stopping.set()
            for thread in (serving, commanding):
                thread.join(20)
            for client in (actor, page, session):
                client.close()
    assert not Path(folder).exists()
    assert robot.too_late == []
    assert robot.acknowledged >= STOPS
    assert robot.sent - verdicts[Verdict.PASS] in (0, 1)  # the last one may have been told to nobody
    assert min(verdicts[Verdict.PASS], verdicts[Verdict.HELD]) > STOPS // 100
