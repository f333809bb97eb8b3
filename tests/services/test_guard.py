import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from robot_rl.clock import SECOND, Clock, RealClock, SteppedClock
from robot_rl.config import GuardConfig
from robot_rl.errors import DeadlineMissed, IllegalTransition, RobotFault
from robot_rl.protocols import RobotPort
from robot_rl.safety import guard as guard_module
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.services.guard import GuardClient, serve_guard
from robot_rl.testing.point_robot import PointRobot
from robot_rl.types import ActionSpace, Array, Command, CommandResult, Observation, RobotSpec, SafetyLevel, Verdict
from robot_rl.wire.rpc import Reply, RpcClient
from robot_rl.wire.schemas import to_plain

HZ = 50.0
PERIOD_S = 1 / HZ
SPACE = ActionSpace(
    "ee_delta", ("dx", "dy", "dz", "gripper"), ("m",) * 4, (-0.012, -0.012, -0.012, 0.0), (0.012, 0.012, 0.012, 0.08)
)
LIMITS = Limits(np.full(3, -1.0), np.full(3, 1.0), 0.012, 0.012, 1.5, 0.0, 0.08)
SPEC = RobotSpec("point", SPACE, HZ, 0)


@dataclass
class Point:
    """A robot of no mass: it is where it was sent. With `period_s`, each control period takes that long."""

    period_s: float = 0.0
    fails: bool = False
    at: Array = field(default_factory=lambda: np.array([0.0, 0, 0, 0, 0, 0, 1]))
    events: list[tuple[float, str]] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    spec: RobotSpec = SPEC
    guard: Guard | None = None

    def __post_init__(self) -> None:
        self.free.set()

    def observe(self) -> Observation:
        stamps = {"robot": time.monotonic_ns()}
        return Observation(0, stamps, np.zeros(0), np.zeros(0), self.at.copy(), 0.04, np.zeros(6))

    def apply(self, target: Array) -> None:
        if self.fails:
            raise RobotFault("reflex: cartesian_reflex")
        self.events.append((time.monotonic(), "apply"))
        time.sleep(self.period_s)
        self.free.wait(5)
        self.at[:3] += target[:3]

    def hold(self) -> None:
        self.events.append((time.monotonic(), "hold"))
        time.sleep(self.period_s)
        self.free.wait(5)

    def close(self) -> None: ...

    def count(self, what: str) -> int:
        return sum(kind == what for _, kind in self.events)


@contextmanager
def guarded(robot: Point, **calls: Any) -> Iterator[GuardClient]:
    """A guard served by a thread, active and with a patient operator."""
    stopping = threading.Event()
    with TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/guard"
        clock = RealClock()
        guard = Guard(robot, LIMITS, GuardConfig(operator_ms=20_000), clock, Path(folder) / "guard.json")
        robot.guard = guard
        thread = threading.Thread(target=serve_guard, args=(guard, endpoint, stopping), kwargs={"calls": calls})
        thread.start()
        client = GuardClient(endpoint)
        try:
            client.renew_operator()
            client.set_active(True)
            yield client
        finally:
            stopping.set()
            thread.join(5)
            client.close()
            assert not thread.is_alive()


def command(client: GuardClient, dx: float = 0.005, epoch: int | None = None) -> Command:
    deadline = time.monotonic_ns() + SECOND
    return Command(np.array([dx, 0, 0, 0.04]), deadline, client.safety.epoch if epoch is None else epoch, 1, 0)


def test_the_client_is_a_robot_port_and_moves_the_robot() -> None:
    robot = Point()
    with guarded(robot) as client:
        assert isinstance(client, RobotPort)
        assert client.spec == robot.spec
        result = client.submit(command(client))
        assert result.verdict is Verdict.PASS
        np.testing.assert_allclose(result.observation.tcp_pose[:3], [0.005, 0, 0])
        np.testing.assert_array_equal(client.observe().tcp_pose, robot.at)
        assert client.safety.level is SafetyLevel.OK


def test_clipped_and_rejected_commands_come_back_as_such() -> None:
    robot = Point()
    with guarded(robot) as client:
        assert client.submit(command(client, 0.014)).verdict is Verdict.CLIPPED
        assert client.submit(command(client, float("nan"))).verdict is Verdict.REJECTED
        assert client.safety.causes[0].kind == "bad_action"
        assert client.check(np.zeros((8, 4))) is None
        reason = client.check(np.full((8, 4), np.inf))
        assert reason


@pytest.mark.parametrize("period_s", [0.0, PERIOD_S], ids=["driver returns at once", "driver takes the period"])
def test_commands_are_carried_out_at_the_control_rate_without_a_hold_between(period_s: float) -> None:
    robot, steps = Point(period_s), 25
    with guarded(robot) as client:
        client.submit(command(client))
        holds = robot.count("hold")
        for _ in range(steps):
            client.submit(command(client, 0.001))
        assert robot.count("hold") - holds < steps / 2  # 0 on a machine that has nothing else to do
    times = [at for at, kind in robot.events if kind == "apply"]
    assert times[-1] - times[0] >= 0.9 * steps * PERIOD_S


def test_without_commands_the_robot_holds_and_the_cause_is_known() -> None:
    robot = Point()
    with guarded(robot) as client:
        client.submit(command(client))
        before = robot.count("hold")
        time.sleep(0.3)
        assert robot.count("hold") - before > 5
        assert [cause.kind for cause in client.state().causes] == ["command_late"]
        assert client.submit(command(client)).verdict is Verdict.PASS
        assert client.safety.level is SafetyLevel.OK


def test_after_an_acknowledged_stop_nothing_of_the_old_epoch_moves() -> None:
    robot = Point(PERIOD_S)
    results: list[CommandResult] = []
    with guarded(robot) as client:
        old = client.safety.epoch

        def drive() -> None:
            results.extend(client.submit(command(client, 0.001, old)) for _ in range(20))

        driver = threading.Thread(target=drive)
        driver.start()
        time.sleep(0.15)
        asked = time.monotonic()
        state = client.stop("test", "Esc")
        acknowledged = time.monotonic()
        driver.join(5)
        assert acknowledged - asked < 0.3
        assert (state.level, state.epoch) == (SafetyLevel.STOP, old + 1)
        assert 0 < robot.count("apply") < 20
        assert all(at < acknowledged for at, kind in robot.events if kind == "apply")
        assert {result.verdict for result in results} == {Verdict.PASS, Verdict.HELD}

        with pytest.raises(IllegalTransition, match="operator_stop"):
            client.clear("something else", "test")
        assert client.clear(state.causes[0].id, "test").level is SafetyLevel.OK
        assert client.set_active(True).epoch == old + 1
        assert client.submit(command(client, 0.001, old)).verdict is Verdict.HELD
        assert client.submit(command(client)).verdict is Verdict.PASS


@pytest.mark.parametrize("who", ["a client", "a thread of the guard's process"])
def test_a_robot_that_waits_for_its_next_period_brakes_at_once(who: str) -> None:
    robot = Point(spec=RobotSpec("slow", SPACE, 2.0, 0))
    with guarded(robot) as client:
        client.submit(command(client))
        holds = robot.count("hold")
        began = time.monotonic()
        stopper = client if who == "a client" else robot.guard
        assert stopper is not None
        stopper.stop("test", "")
        while robot.count("hold") == holds:
            assert time.monotonic() < began + 0.25, "it waited for its next control period"
            time.sleep(0.005)


def test_a_robot_brakes_while_a_slow_disk_keeps_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    written, robot = threading.Event(), Point(spec=RobotSpec("slow", SPACE, 2.0, 0))
    with guarded(robot) as client:
        assert robot.guard is not None
        stops = [threading.Thread(target=robot.guard.stop, args=("test", why)) for why in ("first", "second")]
        with monkeypatch.context() as slow:
            slow.setattr(guard_module, "write_latch", lambda *_: written.wait(10))
            client.submit(command(client))
            holds, began = robot.count("hold"), time.monotonic()
            for stop in stops:
                stop.start()
                while "second" not in str(client.state().causes) and stop is stops[1]:
                    assert time.monotonic() < began + 5, "a STOP waited for the disk of another one"
            while robot.count("hold") == holds:
                assert time.monotonic() < began + 0.4, "it waited for the disk"
                time.sleep(0.005)
            assert all(stop.is_alive() for stop in stops), "acknowledged before it was kept"
            written.set()
            for stop in stops:
                stop.join(5)


def test_a_newer_command_replaces_one_that_waits() -> None:
    robot = Point()
    with guarded(robot) as client:
        line = RpcClient(client.endpoint)
        try:
            requests: list[tuple[Any, list[Array]]] = []
            for dx in (0.001, 0.002):
                arrays: list[Array] = []
                requests.append(({"command": to_plain(command(client, dx), arrays)}, arrays))
            robot.free.clear()  # the present control period lasts until both commands are there
            threading.Timer(0.5, robot.free.set).start()
            line.post("submit", *requests[0])
            with pytest.raises(DeadlineMissed, match="newer command"):
                line.call("submit", *requests[1], timeout_s=5.0)
            np.testing.assert_allclose(client.observe().tcp_pose[0], 0.002)
        finally:
            line.close()


def test_a_robot_fault_is_latched_and_the_service_lives() -> None:
    robot = Point()
    with guarded(robot) as client:
        robot.fails = True
        result = client.submit(command(client))
        assert result.verdict is Verdict.HELD
        assert "cartesian_reflex" in result.reason
        assert client.safety.level is SafetyLevel.FAULT
        assert client.observe().gripper_width == 0.04


def test_a_robot_that_cannot_be_observed_any_more_is_a_latched_fault_in_the_answer_and_no_error() -> None:
    robot = Point()

    def lost() -> Observation:
        raise ConnectionResetError("the cable")

    with guarded(robot) as client:
        robot.observe = lost  # type: ignore[method-assign]
        assert client.set_active(False).level in (SafetyLevel.OK, SafetyLevel.FAULT)
        state = client.set_active(True)
        assert (state.level, state.causes[0].kind) == (SafetyLevel.FAULT, "robot_fault")
        assert "the cable" in state.causes[0].detail


def test_further_calls_run_in_the_control_thread_and_the_robot_is_looked_at_after_them() -> None:
    robot = Point()

    def reset(header: dict[str, Any], arrays: list[Array]) -> Reply:
        robot.at[0] = header["x"]
        return {"thread": threading.current_thread().name}, ()

    with guarded(robot, reset=reset) as client:
        assert client.call("reset", {"x": 0.5})[0]["thread"] == "guard-control"
        assert client.observe().tcp_pose[0] == 0.5
        client.begin()
        assert client.submit(command(client)).verdict is Verdict.PASS
        np.testing.assert_allclose(robot.at[0], 0.505)


def test_a_hold_that_is_asked_for_takes_one_control_period() -> None:
    robot = Point()
    with guarded(robot) as client:
        client.submit(command(client))
        before, began = robot.count("hold"), time.monotonic()
        for _ in range(10):
            np.testing.assert_array_equal(client.tick_hold().tcp_pose, robot.at)
        assert robot.count("hold") - before >= 10
        assert time.monotonic() - began >= 9 * PERIOD_S


def test_it_ends_holding() -> None:
    robot = Point()
    with guarded(robot) as client:
        client.submit(command(client))
    assert robot.events[-1][1] == "hold"


@contextmanager
def stepped(clock: Clock | None = None) -> Iterator[tuple[PointRobot, GuardClient]]:
    """A guard whose time is simulated, active, and a client with a `clock` of its own."""
    time_of_robot, stopping = SteppedClock(), threading.Event()
    robot = PointRobot(time_of_robot)
    with TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/guard"
        guard = Guard(robot, LIMITS, GuardConfig(operator_ms=20_000), time_of_robot)
        thread = threading.Thread(target=serve_guard, args=(guard, endpoint, stopping), kwargs={"clock": time_of_robot})
        thread.start()
        client = GuardClient(endpoint, clock=clock)
        try:
            client.renew_operator()
            client.set_active(True)
            yield robot, client
        finally:
            stopping.set()
            thread.join(5)
            client.close()
            assert not thread.is_alive()


def simulated(client: GuardClient, now_ns: int) -> Command:
    return Command(np.array([0.005, 0, 0, 0.04]), now_ns, client.safety.epoch, 1, 0)


def test_a_simulated_time_moves_by_what_is_asked_for_and_by_nothing_else() -> None:
    period_ns = round(SECOND / PointRobot().spec.control_hz)
    with stepped() as (robot, client):
        began = time.monotonic()
        for step in range(100):
            assert client.submit(simulated(client, step * period_ns)).verdict is Verdict.PASS
        assert time.monotonic() - began < 0.5 * 100 * period_ns / SECOND, "nobody waits for the clock on the wall"
        client.tick_hold()
        time.sleep(0.3)  # a real guard would hold for some periods
        assert client.observe().stamps_ns["robot"] == robot.clock.now_ns() == 101 * period_ns
        assert (len(robot.applied), robot.held) == (100, 1)
        assert client.state().level is SafetyLevel.OK, "no deadline of the simulated time has passed"


class LateClock(SteppedClock):
    """Follows another one, and is told of it late."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[int] = []

    def sleep_until(self, stamp_ns: int) -> None:
        self.waits.append(stamp_ns)
        super().sleep_until(stamp_ns)


def test_a_client_with_a_clock_is_answered_when_that_has_come_as_far_as_the_guards() -> None:
    clock = LateClock()
    with stepped(clock) as (robot, client):
        result = client.submit(simulated(client, 0))
        assert clock.waits[-1] == clock.now_ns() == result.stamp_ns == robot.clock.now_ns() > 0
        seen = client.tick_hold()
        assert clock.waits[-1] == clock.now_ns() == seen.stamps_ns["robot"] == robot.clock.now_ns()
        robot.clock.sleep_until(SECOND)
        robot.hold()  # as another client's command would
        client.set_active(False)  # the service has looked at the robot again
        assert client.observe().stamps_ns["robot"] == clock.now_ns() == robot.clock.now_ns()
