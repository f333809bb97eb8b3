from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_rl.clock import MS, SECOND, SteppedClock
from robot_rl.config import GuardConfig
from robot_rl.errors import IllegalTransition, IntegrityError, RobotFault, StoreError
from robot_rl.protocols import RobotPort
from robot_rl.safety import guard as guard_module
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.testing.point_robot import PointRobot
from robot_rl.types import Array, Command, CommandResult, Observation, SafetyLevel, Verdict

LIMITS = Limits(np.array([0.3, -0.3, 0.0]), np.array([0.7, 0.3, 0.5]), 0.012, 0.012, 1.5, 0.0, 0.08)
CONFIG = GuardConfig(operator_ms=500, observation_ms=200, command_ms=150)
FORWARD = np.array([0.006, 0.0, 0.0, 0.04])


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(SECOND)


@pytest.fixture
def robot(clock: SteppedClock) -> PointRobot:
    return PointRobot(clock)


@pytest.fixture
def guard(robot: PointRobot, clock: SteppedClock) -> Guard:
    """Active, with an operator."""
    guard = Guard(robot, LIMITS, CONFIG, clock)
    start(guard)
    return guard


def start(guard: Guard) -> None:
    guard.renew_operator()
    guard.set_active(True)


def send(guard: Guard, target: Array = FORWARD, epoch: int | None = None, late_ms: int = 0) -> CommandResult:
    now_ns = guard._clock.now_ns()
    epoch = guard.safety.epoch if epoch is None else epoch
    return guard.submit(Command(target, now_ns - late_ms * MS, epoch, chunk_id=3, index=1))


def kinds(guard: Guard) -> list[str]:
    return [cause.kind for cause in guard.safety.causes]


def test_it_is_the_robot_for_the_actor(guard: Guard, robot: PointRobot) -> None:
    assert isinstance(guard, RobotPort)
    assert guard.spec == robot.spec


def test_a_command_is_carried_out_for_one_period(guard: Guard, robot: PointRobot, clock: SteppedClock) -> None:
    before = clock.now_ns()
    result = send(guard)
    assert (result.verdict, result.reason) == (Verdict.PASS, "")
    assert result.command.chunk_id == 3
    np.testing.assert_array_equal(result.sent, FORWARD)
    np.testing.assert_array_equal(robot.applied, [FORWARD])
    assert result.stamp_ns == clock.now_ns() == before + 50 * MS
    assert result.observation.stamps_ns["robot"] == clock.now_ns()
    np.testing.assert_allclose(result.observation.tcp_pose[:3], [0.506, 0.0, 0.3])
    assert guard.safety.level is SafetyLevel.OK


def test_what_is_sent_is_what_the_filter_left(guard: Guard, robot: PointRobot) -> None:
    result = send(guard, np.array([0.0, 0.0, 0.015, 0.2]))
    assert result.verdict is Verdict.CLIPPED
    np.testing.assert_allclose(result.sent, [0.0, 0.0, 0.012, 0.08])
    np.testing.assert_array_equal(robot.applied[0], result.sent)


@pytest.mark.parametrize("target", [np.full(4, math.nan), np.array([0.1, 0.0, 0.0, 0.04]), np.zeros(7)], ids=str)
def test_a_bad_action_holds_for_one_period_until_a_good_one(
    guard: Guard, robot: PointRobot, clock: SteppedClock, target: Array
) -> None:
    before = clock.now_ns()
    result = send(guard, target)
    assert result.verdict is Verdict.REJECTED
    assert result.reason
    np.testing.assert_array_equal(result.sent, [0.0, 0.0, 0.0, 0.04])
    assert robot.applied == []
    assert robot.held == 1
    assert clock.now_ns() == before + 50 * MS
    assert kinds(guard) == ["bad_action"]
    assert guard.safety.causes[0].detail == result.reason
    assert send(guard).verdict is Verdict.PASS
    assert guard.safety.level is SafetyLevel.OK
    assert [cause.kind for cause in guard.history] == ["bad_action"]


def test_the_seam_is_counted_from_what_was_sent(guard: Guard) -> None:
    def forward(dx: float) -> CommandResult:
        return send(guard, np.array([dx, 0.0, 0.0, 0.04]))

    assert forward(0.01).verdict is Verdict.PASS
    assert forward(-0.006).sent[0] == pytest.approx(-0.002)
    assert forward(0.01).verdict is Verdict.PASS
    assert forward(-0.009).verdict is Verdict.REJECTED
    assert forward(-0.009).verdict is Verdict.PASS


def test_after_a_hold_it_starts_from_rest_where_it_is(guard: Guard, robot: PointRobot) -> None:
    send(guard, np.array([0.009, 0.0, 0.0, 0.04]))
    robot.xyz = np.array([0.695, 0.0, 0.3])
    guard.tick_hold()
    assert guard.check(np.array([[-0.017, 0.0, 0.0, 0.04]])) is None
    result = send(guard, np.array([0.009, 0.0, 0.0, 0.04]))
    np.testing.assert_allclose(result.sent[:3], [0.005, 0.0, 0.0])


def test_the_workspace_is_counted_in_what_was_commanded(guard: Guard, robot: PointRobot) -> None:
    """A robot that lags behind is not asked to catch up with the wall by more than is left."""
    for _ in range(16):
        send(guard, np.array([0.012, 0.0, 0.0, 0.04]))
        guard.renew_operator()
    robot.xyz = np.array([0.5, 0.0, 0.3])
    assert send(guard, np.array([0.012, 0.0, 0.0, 0.04])).sent[0] == pytest.approx(0.008)
    guard.begin()
    assert send(guard, np.array([0.012, 0.0, 0.0, 0.04])).sent[0] == pytest.approx(0.012)


def test_a_chunk_is_checked_without_moving(guard: Guard, robot: PointRobot) -> None:
    assert guard.check(np.tile(FORWARD, (8, 1))) is None
    assert guard.check(np.full((8, 4), math.nan)) is not None
    assert robot.applied == []
    assert guard.safety.level is SafetyLevel.OK


def test_nothing_moves_before_it_is_activated(robot: PointRobot, clock: SteppedClock) -> None:
    guard = Guard(robot, LIMITS, CONFIG, clock)
    guard.renew_operator()
    assert send(guard).verdict is Verdict.HELD
    assert kinds(guard) == ["not_active"]
    assert robot.applied == []


def test_an_old_epoch_and_a_missed_deadline_hold(guard: Guard, robot: PointRobot) -> None:
    old = send(guard, epoch=0)
    assert (old.verdict, robot.held) == (Verdict.HELD, 1)
    assert "epoch 0" in old.reason
    late = send(guard, late_ms=1)
    assert (late.verdict, robot.held) == (Verdict.HELD, 2)
    assert "past its deadline" in late.reason
    assert robot.applied == []
    assert kinds(guard) == ["command_stale", "command_late"]


def test_a_silent_operator_holds_until_renewed(guard: Guard, robot: PointRobot) -> None:
    for _ in range(11):
        assert send(guard).verdict is Verdict.PASS
    held = send(guard)
    assert held.verdict is Verdict.HELD
    assert held.reason == "HOLD: operator_silent: no renewal for 500 ms"
    assert len(robot.applied) == 11
    guard.renew_operator()
    assert send(guard).verdict is Verdict.PASS


def test_no_command_becomes_a_cause_only_while_active(guard: Guard, robot: PointRobot) -> None:
    send(guard)
    for _ in range(2):
        guard.tick_hold()
    assert kinds(guard) == []
    guard.tick_hold()
    assert kinds(guard) == ["command_late"]
    assert robot.held == 3
    guard.set_active(False)
    for _ in range(20):
        guard.tick_hold()
    assert guard.safety.level is SafetyLevel.OK


def test_thinking_is_not_taken_for_a_silent_robot(guard: Guard, robot: PointRobot, clock: SteppedClock) -> None:
    clock.advance(250 * MS)
    robot._stamp_ns = clock.now_ns()
    assert send(guard).verdict is Verdict.PASS


def test_a_robot_that_reports_nothing_new_is_held(guard: Guard, robot: PointRobot, clock: SteppedClock) -> None:
    clock.advance(250 * MS)
    result = send(guard)
    assert result.verdict is Verdict.HELD
    assert "observation_stale" in result.reason
    assert send(guard).verdict is Verdict.PASS


@pytest.mark.parametrize("error", [RobotFault("reflex"), ConnectionResetError("gone")], ids=["typed", "any"])
def test_a_drivers_error_is_latched_once(guard: Guard, robot: PointRobot, error: Exception) -> None:
    epoch = guard.safety.epoch
    robot.fault = error
    result = send(guard)
    assert result.verdict is Verdict.HELD
    assert str(error) in result.reason
    np.testing.assert_array_equal(result.sent, [0.0, 0.0, 0.0, 0.04])
    guard.tick_hold()
    with pytest.raises(RobotFault, match=str(error)):
        guard.observe()
    assert guard.safety.level is SafetyLevel.FAULT
    assert guard.safety.epoch == epoch + 1
    assert kinds(guard) == ["robot_fault"]
    robot.fault = None
    assert send(guard).verdict is Verdict.HELD
    guard.clear(guard.safety.causes[0].id, "ada")
    assert send(guard).verdict is Verdict.HELD
    start(guard)
    assert send(guard).verdict is Verdict.PASS


def test_what_was_sent_is_reported_though_the_robot_is_not_heard_after_it(guard: Guard, robot: PointRobot) -> None:
    def blind() -> Observation:
        raise ConnectionResetError("gone")

    robot.observe = blind  # type: ignore[method-assign]
    result = send(guard)
    assert result.verdict is Verdict.PASS
    np.testing.assert_array_equal(result.sent, FORWARD)
    assert kinds(guard) == ["robot_fault"]


def test_a_robot_that_fails_at_the_start_is_refused(robot: PointRobot, clock: SteppedClock) -> None:
    robot.fault = RobotFault("no power")
    with pytest.raises(RobotFault, match="no power"):
        Guard(robot, LIMITS, CONFIG, clock)


def test_a_robot_that_does_not_know_where_it_is_does_not_move(guard: Guard, robot: PointRobot) -> None:
    robot.xyz = np.full(3, math.nan)
    guard.tick_hold()
    result = send(guard)
    assert result.verdict is Verdict.REJECTED
    assert "position is not known" in result.reason
    assert robot.applied == []


def test_stop_is_latched_and_clearing_it_moves_nothing(guard: Guard, robot: PointRobot) -> None:
    old = guard.safety.epoch
    stopped = guard.stop("ada", "smoke")
    assert stopped.level is SafetyLevel.STOP
    assert stopped.epoch == old + 1
    assert stopped.causes[0].detail == "smoke (by ada)"
    for epoch in (old, stopped.epoch):
        assert send(guard, epoch=epoch).verdict is Verdict.HELD
    assert guard.set_active(True).level is SafetyLevel.STOP
    with pytest.raises(IllegalTransition):
        guard.clear("operator_stop-77", "ada")
    assert guard.clear(stopped.causes[0].id, "ada").level is SafetyLevel.OK
    assert send(guard).verdict is Verdict.HELD
    start(guard)
    assert send(guard, epoch=old).verdict is Verdict.HELD
    assert robot.applied == []
    assert send(guard).verdict is Verdict.PASS


# --- the latch on disk ----------------------------------------------------------------------------------------------


@pytest.fixture
def latch(tmp_path: Path) -> Path:
    return tmp_path / "guard.json"


def test_a_stop_outlives_the_process_and_its_clearing_does_too(
    robot: PointRobot, clock: SteppedClock, latch: Path
) -> None:
    first = Guard(robot, LIMITS, CONFIG, clock, latch)
    start(first)
    stopped = first.stop("ada", "smoke")
    second = Guard(robot, LIMITS, CONFIG, clock, latch)
    assert second.safety.causes == stopped.causes
    assert second.safety.epoch > stopped.epoch
    second.clear(stopped.causes[0].id, "ada")
    third = Guard(robot, LIMITS, CONFIG, clock, latch)
    assert third.safety.level is SafetyLevel.OK
    assert third.safety.epoch > second.safety.epoch
    start(third)
    assert send(third, epoch=second.safety.epoch).verdict is Verdict.HELD
    assert third.stop("ada", "again").causes[0].id != stopped.causes[0].id


def test_a_damaged_latch_is_refused(robot: PointRobot, clock: SteppedClock, latch: Path) -> None:
    latch.write_text("{")
    with pytest.raises(IntegrityError):
        Guard(robot, LIMITS, CONFIG, clock, latch)


def test_a_full_disk_stops_all_the_same_and_clears_nothing(
    robot: PointRobot, clock: SteppedClock, latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(robot, LIMITS, CONFIG, clock, latch)
    start(guard)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        stopped = guard.stop("ada", "smoke")
        assert stopped.level is SafetyLevel.FAULT
        assert [cause.kind for cause in stopped.causes] == ["latch_failed", "operator_stop"]
        assert "No space" in stopped.causes[0].detail
        assert send(guard).verdict is Verdict.HELD
        with pytest.raises(StoreError, match="stays latched"):
            guard.clear(stopped.causes[1].id, "ada")
        assert guard.safety.causes == stopped.causes
    for cause in stopped.causes:
        guard.clear(cause.id, "ada")
    assert guard.safety.level is SafetyLevel.OK


# --- a stop from another thread -------------------------------------------------------------------------------------


class Gated(PointRobot):
    """Its control period ends when the gate is opened."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__(clock)
        self.entered = threading.Event()
        self.gate = threading.Event()

    def apply(self, target: Array) -> None:
        self.entered.set()
        self.gate.wait(10)
        super().apply(target)


@pytest.fixture
def gated(clock: SteppedClock) -> Iterator[Gated]:
    robot = Gated(clock)
    yield robot
    robot.gate.set()


def in_thread(task: threading.Thread) -> threading.Thread:
    task.daemon = True
    task.start()
    return task


def test_stop_waits_for_the_period_that_runs(gated: Gated, clock: SteppedClock) -> None:
    guard = Guard(gated, LIMITS, CONFIG, clock)
    start(guard)
    moving = in_thread(threading.Thread(target=send, args=(guard,)))
    assert gated.entered.wait(10)
    applied_at_return: list[int] = []

    def stop() -> None:
        guard.stop("ada", "smoke")
        applied_at_return.append(len(gated.applied))

    stopping = in_thread(threading.Thread(target=stop))
    while guard.safety.level is SafetyLevel.OK:
        stopping.join(0.001)
    stopping.join(0.05)
    assert stopping.is_alive()
    gated.gate.set()
    stopping.join(10)
    moving.join(10)
    assert applied_at_return == [1]


def test_a_driver_that_does_not_return_is_called_hung(
    gated: Gated, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "DRIVER_PATIENCE_S", 0.05)
    guard = Guard(gated, LIMITS, CONFIG, clock)
    start(guard)
    moving = in_thread(threading.Thread(target=send, args=(guard,)))
    assert gated.entered.wait(10)
    stopped = guard.stop("ada", "smoke")
    assert [cause.kind for cause in stopped.causes] == ["driver_hung", "operator_stop"]
    gated.gate.set()
    moving.join(10)


def test_a_stop_during_a_hold_does_not_wait(guard: Guard, robot: PointRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, gate = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        gate.wait(10)

    monkeypatch.setattr(robot, "hold", hold)
    holding = in_thread(threading.Thread(target=guard.tick_hold))
    assert entered.wait(10)
    assert guard.stop("ada", "smoke").level is SafetyLevel.STOP
    assert holding.is_alive()
    gate.set()
    holding.join(10)


def test_looking_and_ticking_return_the_newest_observation(guard: Guard, robot: PointRobot) -> None:
    robot.xyz = np.array([0.4, 0.0, 0.2])
    seen: list[Observation] = [guard.observe(), guard.tick_hold()]
    for observation in seen:
        np.testing.assert_array_equal(observation.tcp_pose[:3], robot.xyz)


class Patient(PointRobot):
    """Waits after a fault until it is told that somebody has looked."""

    told = 0

    def recover(self) -> None:
        self.told += 1
        self.fault = None


def test_a_robot_is_told_that_its_fault_was_cleared_and_of_nothing_else(clock: SteppedClock) -> None:
    robot = Patient(clock)
    guard = Guard(robot, LIMITS, CONFIG, clock)
    start(guard)
    stop = next(cause for cause in guard.stop("a person", "to see").causes if cause.kind == "operator_stop")
    guard.clear(stop.id, "a person")
    assert robot.told == 0
    start(guard)
    robot.fault = RobotFault("a reflex")
    send(guard)
    guard.tick_hold()
    assert (kinds(guard), robot.told) == (["robot_fault"], 0)  # by nobody but an operator
    guard.clear(guard.safety.causes[0].id, "a person")
    assert robot.told == 1
    guard.tick_hold()
    assert guard.safety.level is SafetyLevel.OK
