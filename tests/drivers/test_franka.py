"""The Franka driver against the protocol twin: the real client, libfranka's protocol, MuJoCo behind it, in real time.

One simulation serves all tests here; each begins with the arm at home.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from robot_rl.clock import SECOND, RealClock, SteppedClock
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError, RobotFault, RobotLost, RobotReflex
from robot_rl.protocols import Recoverable
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.task_files import load_task
from robot_rl.testing.robot import RobotConformance
from robot_rl.types import Array, Command, SafetyLevel, Verdict
from sim_twin.lid_opening import ACTION_SPACE, CONTROL_HZ, LEAD_M, LidOpeningTwin

pytest.importorskip("franky", reason="the Franka client is not installed: pip install 'robot-rl[franka]'")
pytest.importorskip("franky_sim", reason="the simulated Franka is not installed: pip install 'robot-rl[twin]'")

from robot_rl.drivers.franka import FrankaRobot
from robot_rl.drivers.franka_config import FrankaConfig
from sim_twin.protocol.twin import ProtocolTwin

PERIOD_NS = round(SECOND / CONTROL_HZ)


@pytest.fixture(scope="module")
def task() -> TaskConfig:
    return load_task("lid_opening")


@pytest.fixture(scope="module")
def running(task: TaskConfig) -> Iterator[ProtocolTwin]:
    twin = ProtocolTwin(task)
    try:
        yield twin
    finally:
        twin.close()


@pytest.fixture
def twin(running: ProtocolTwin) -> ProtocolTwin:
    if running.robot.faulted:
        running.recover()
        running.hold()
    running.reset(running.draw(1, 0, 0))
    return running


@pytest.fixture
def guard(twin: ProtocolTwin, task: TaskConfig) -> Guard:
    guard = Guard(twin, Limits.of(task.limits, ACTION_SPACE), task.guard, RealClock())
    guard.renew_operator()
    assert guard.set_active(True).level is SafetyLevel.OK
    return guard


def rise(guard: Guard) -> Verdict:
    """One control period 4 mm upward."""
    guard.renew_operator()
    target = np.array([0.0, 0.0, 0.004, 0.04])
    epoch = guard.safety.epoch
    return guard.submit(Command(target, RealClock().now_ns() + 2 * PERIOD_NS, epoch, 0, 0)).verdict


def height(twin: ProtocolTwin) -> float:
    """m: where the TCP really is."""
    twin.observe()
    return float(twin.perceived.tcp[2])


def let_pass(twin: ProtocolTwin, simulated_s: float) -> None:
    """Nobody asks anything of the robot; the simulation's time counts, which a busy machine slows down."""
    twin.observe()
    end_s = twin.perceived.simulated_s + simulated_s
    while twin.perceived.simulated_s < end_s:
        RealClock().sleep_until(RealClock().now_ns() + PERIOD_NS)
        twin.observe()


def keep_at(twin: ProtocolTwin, target: Array) -> None:
    """For three seconds: libfranka waits for a state for one."""
    for _ in range(60):
        twin.apply(target)


class TestProtocolTwin(RobotConformance):
    settle = 16

    @pytest.fixture
    def robot(self, twin: ProtocolTwin) -> ProtocolTwin:
        return twin


def test_it_takes_what_the_fast_twin_takes_and_sees_what_it_sees(twin: ProtocolTwin, task: TaskConfig) -> None:
    fast = LidOpeningTwin(task)
    fast.reset(fast.draw(1, 0, 0))
    theirs, ours = fast.observe(), twin.observe()
    assert twin.spec.action_space == fast.spec.action_space
    assert twin.spec.control_hz == fast.spec.control_hz
    np.testing.assert_allclose(ours.q, theirs.q, atol=2e-3)
    np.testing.assert_allclose(ours.tcp_pose, theirs.tcp_pose, atol=2e-3)
    np.testing.assert_allclose(ours.extra["bin_pose"], theirs.extra["bin_pose"], atol=0.05)
    assert ours.gripper_width == pytest.approx(theirs.gripper_width, abs=1e-3)
    # Lower than it is reported to be, by the episode's height error.
    assert ours.tcp_pose[2] - twin.perceived.tcp[2] == pytest.approx(twin.start.height_error, abs=1e-3)
    assert twin.joint_positions.shape == fast.joint_positions.shape
    assert not twin.truth().success


def test_objects_are_put_back_and_the_arm_stays(twin: ProtocolTwin) -> None:
    for _ in range(4):
        twin.apply(np.array([0.0, 0.0, 0.006, 0.04]))
    twin.hold()
    before = height(twin)
    start = twin.draw(3, 0, 5)
    twin.reset_objects(start)
    twin.hold()
    x, y = twin.observe().extra["bin_pose"][:2]
    np.testing.assert_allclose([x, y], [start.x, start.y], atol=0.01)
    assert height(twin) == pytest.approx(before, abs=0.003)
    assert twin.truth().moved < 0.001


def test_a_caller_that_falls_silent_leaves_the_hand_near_where_it_was(twin: ProtocolTwin) -> None:
    for _ in range(6):
        twin.apply(np.array([0.0, 0.0, 0.010, 0.04]))
    before = height(twin)
    let_pass(twin, 0.8)
    first = height(twin)
    let_pass(twin, 0.2)
    assert first - before < LEAD_M + 0.02
    assert height(twin) == pytest.approx(first, abs=0.002)


def test_a_reflex_is_latched_and_nothing_moves_until_an_operator_clears_it(twin: ProtocolTwin, guard: Guard) -> None:
    assert isinstance(twin, Recoverable)
    assert [rise(guard) for _ in range(3)] == [Verdict.PASS] * 3
    twin.trip()
    while guard.safety.level is not SafetyLevel.FAULT:
        rise(guard)
    (cause,) = guard.safety.causes
    assert (cause.kind, cause.clears) == ("robot_fault", "operator")
    assert "RobotReflex" in cause.detail
    assert "cartesian_reflex" in cause.detail
    before = height(twin)
    assert {rise(guard) for _ in range(5)} == {Verdict.HELD}
    guard.tick_hold()
    assert guard.safety.causes == (cause,)  # once, however often it is tried
    assert height(twin) == pytest.approx(before, abs=0.002)
    guard.clear(cause.id, "a person")
    guard.tick_hold()
    assert guard.safety.level is SafetyLevel.OK
    assert height(twin) == pytest.approx(before, abs=0.002)  # cleared is not moved
    guard.set_active(True)
    assert [rise(guard) for _ in range(8)] == [Verdict.PASS] * 8
    let_pass(twin, 0.3)
    assert height(twin) > before + 0.015


def test_a_fault_of_the_gripper_brakes_the_arm(twin: ProtocolTwin, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        twin.apply(np.array([0.0, 0.0, 0.010, 0.04]))
    before = height(twin)
    monkeypatch.setattr(twin.robot._hand, "_error", RobotReflex("the gripper: command rejected"))
    with pytest.raises(RobotReflex, match="the gripper"):
        twin.observe()
    let_pass(twin, 0.6)
    assert height(twin) - before < LEAD_M / 2
    with pytest.raises(RobotReflex, match="the gripper"):
        twin.apply(np.array([0.0, 0.0, 0.010, 0.04]))
    twin.recover()
    twin.hold()
    assert not twin.robot.faulted


def test_a_hand_that_is_turned_away_is_not_moved(twin: ProtocolTwin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin.robot, "_orientation", np.array([1.0, 0.0, 0.0, 0.0]))
    before = height(twin)
    with pytest.raises(RobotReflex, match=r"turned 1\.57 rad away .* guide the arm to"):
        twin.apply(np.array([0.0, 0.0, 0.006, 0.04]))
    assert height(twin) == pytest.approx(before, abs=0.001)


def test_letting_go_and_taking_control_again(twin: ProtocolTwin) -> None:
    twin.apply(np.array([0.0, 0.0, 0.006, 0.04]))
    twin.robot.release()
    twin.hold()
    before = height(twin)
    for _ in range(6):
        twin.apply(np.array([0.0, 0.0, 0.006, 0.04]))
    let_pass(twin, 0.3)
    assert height(twin) > before + 0.01


def test_who_connects_is_not_made_a_real_time_thread(twin: ProtocolTwin) -> None:
    twin.observe()
    assert os.sched_getscheduler(0) != os.SCHED_FIFO  # it would be 99 for all that this process starts from here on


def test_where_no_robot_answers_it_is_said_what_to_look_at() -> None:
    with pytest.raises(RobotLost, match=r"no Franka at 127\.255\.0\.1: .* joints unlocked$"):
        FrankaRobot(FrankaConfig(address="127.255.0.1", realtime_config="ignore"))


def test_a_simulated_clock_is_refused(task: TaskConfig) -> None:
    with pytest.raises(ConfigError, match="runs in real time"):
        ProtocolTwin(task, "twin", SteppedClock())


def test_a_robot_that_is_gone_is_a_typed_fault_and_its_last_state_grows_old(task: TaskConfig) -> None:
    twin = ProtocolTwin(task)
    try:
        still: Array = np.array([0.0, 0.0, 0.0, 0.04])
        twin.apply(still)
        stamp_ns = twin.robot.observe().stamps_ns["robot"]
        twin.end_simulation()
        with pytest.raises(RobotLost, match="the connection to 127"):
            keep_at(twin, still)
        seen = twin.robot.observe()
        assert seen.stamps_ns["robot"] - stamp_ns < SECOND / 2
        with pytest.raises(RobotLost, match="simulation ended with status -9"):
            twin.observe()
        assert twin.observe().stamps_ns["robot"] - stamp_ns < SECOND / 2  # told once
        twin.recover()
        with pytest.raises(RobotFault, match="no Franka at"):
            twin.hold()
        assert twin.begin_simulation() == twin.robot.address
        twin.recover()
        twin.hold()
        before = height(twin)
        keep_at(twin, np.array([0.0, 0.0, 0.0005, 0.04]))
        assert height(twin) > before + 0.02
    finally:
        twin.close()
