"""The guard in its own process, and the robot as the actor sees it from another one.

Two threads share the guard. The control thread owns the robot: one control period after the other it carries out the
command that waits, or holds. The socket thread answers: a stop, a clearance and the operator's renewal are done at
once, also in the middle of a period; a submit is answered when its period has been carried out.

A command that comes up to half a period late is still carried out, and the rhythm starts anew from there: better late
than a whole period of holding. Commands of a newer submit replace one that still waits.

By a `SteppedClock` (lockstep) a control period passes only when somebody asks for one, and at once: time stands still
for whoever is late.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from robot_rl.clock import SECOND, Clock, RealClock, SteppedClock
from robot_rl.errors import DeadlineMissed, RobotFault
from robot_rl.safety.guard import DRIVER_PATIENCE_S, Guard
from robot_rl.types import Array, Command, CommandResult, Observation, RobotSpec, SafetyState
from robot_rl.wire.rpc import Handler, Later, Reply, RpcClient, RpcServer
from robot_rl.wire.schemas import from_plain, to_plain
from robot_rl.wire.values import Header

log = logging.getLogger(__name__)

Work = Callable[[], Reply]

LOOK_NS = SECOND // 10
"""Between two looks whether it is to end, when nothing else is to be done."""


def serve_guard(
    guard: Guard,
    endpoint: str,
    stopping: threading.Event,
    *,
    clock: Clock | None = None,
    calls: Mapping[str, Callable[[Header, list[Array]], Reply]] | None = None,
    after_period: Callable[[], None] = lambda: None,
) -> None:
    """Run `guard` at its robot's control rate, by `clock`, and answer on `endpoint`, until `stopping` is set.

    `calls` are further calls that touch the robot (a twin's reset): the control thread does them between two periods.
    It also calls `after_period` (a twin shows itself to its cameras). At the end the robot holds.
    """
    service = GuardService(guard, endpoint, clock or RealClock(), calls or {}, after_period)
    try:
        service.run(stopping)
    finally:
        service.close()


class GuardService:
    """See the module; `serve_guard` is the usual way in."""

    def __init__(
        self,
        guard: Guard,
        endpoint: str,
        clock: Clock,
        calls: Mapping[str, Callable[[Header, list[Array]], Reply]],
        after_period: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._after_period = after_period
        self._period_ns = round(SECOND / guard.spec.control_hz)
        self._observation = guard.observe()
        self._changed = threading.Condition()
        self._command: tuple[Later, Command] | None = None
        self._holds: list[Later] = []
        self._work: deque[tuple[Later, Work]] = deque()
        self._crash: BaseException | None = None
        self._hold_now = False
        guard.brake = self._brake
        at_once: dict[str, Handler] = {
            **operator_handlers(guard),
            "spec": lambda header, arrays: ({"spec": to_plain(guard.spec, [])}, ()),
            "observe": self._observe,
            "submit": self._submit,
            "tick_hold": self._tick_hold,
        }
        between_periods = {"check": self._check, "begin": self._begin, "set_active": self._set_active, **calls}
        handlers = at_once | {name: self._between_periods(call) for name, call in between_periods.items()}
        self._rpc = RpcServer(endpoint, handlers)
        self.endpoint = self._rpc.endpoint

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping` is set, which is seen within 20 ms; raises what ended the control thread, if it did not."""
        control = threading.Thread(target=self._control, args=(stopping,), name="guard-control")
        control.start()
        try:
            while not stopping.is_set():
                self._rpc.poll(20)
        finally:
            stopping.set()
            control.join()
        if self._crash is not None:
            raise self._crash

    def close(self) -> None:
        self._rpc.close()

    # --- the control thread ---------------------------------------------------------------------------------------

    def _control(self, stopping: threading.Event) -> None:
        try:
            self._periods(stopping)
        except BaseException as error:  # raised again by `run`
            log.exception("the guard's control thread ended")
            self._crash = error
        finally:
            stopping.set()
            self._guard.tick_hold()

    def _periods(self, stopping: threading.Event) -> None:
        due, grace = self._clock.now_ns(), 0
        while not stopping.is_set():
            waiting = self._next_command(due, grace, stopping)
            due = self._clock.now_ns() + self._period_ns
            if waiting is None:
                grace = 0
                with self._changed:
                    asked, self._holds = self._holds, []
                self._observation = self._guard.tick_hold()
                for later in asked:
                    self._rpc.answer(later, lambda: self._observe({}, []))
            else:
                grace = self._period_ns // 2
                later, command = waiting
                self._rpc.answer(later, self._carry_out(command))
            self._after_period()

    def _next_command(self, due: int, grace: int, stopping: threading.Event) -> tuple[Later, Command] | None:
        """The command that waits at `due` or comes within `grace` ns after it; work comes first, at any time.

        None when the period that begins now is one of holding.
        """
        with self._changed:
            while not stopping.is_set():
                while self._work:
                    later, work = self._work.popleft()
                    self._rpc.answer(later, _outcome(work))
                if self._hold_now:
                    self._hold_now = False
                    return None
                remaining = self._remaining(due, grace)
                if remaining <= 0:
                    waiting, self._command = self._command, None
                    return waiting
                self._changed.wait(min(remaining, LOOK_NS) / SECOND)
        return None

    def _remaining(self, due: int, grace: int) -> int:
        """How many ns on the wall until the next period begins, if nothing else comes before."""
        asked = self._command is not None or bool(self._holds)
        if isinstance(self._clock, SteppedClock):
            return 0 if asked else LOOK_NS
        return due + (0 if asked else grace) - self._clock.now_ns()

    def _carry_out(self, command: Command) -> Work:
        """Submit `command` and make its answer, an error included; takes one control period."""

        def submit() -> Reply:
            result = self._guard.submit(command)
            self._observation = result.observation
            arrays: list[Array] = []
            return _with_safety(self._guard.safety, {"result": to_plain(result, arrays)}, arrays)

        return _outcome(submit)

    def _check(self, header: Header, arrays: list[Array]) -> Reply:
        reason = self._guard.check(from_plain(Array, header.get("chunk"), arrays))
        return _with_safety(self._guard.safety, {"reason": reason})

    def _begin(self, header: Header, arrays: list[Array]) -> Reply:
        return _with_safety(self._guard.begin())

    def _set_active(self, header: Header, arrays: list[Array]) -> Reply:
        return _with_safety(self._guard.set_active(from_plain(bool, header.get("active"), ())))

    # --- the socket thread ----------------------------------------------------------------------------------------

    def _observe(self, header: Header, arrays: list[Array]) -> Reply:
        results: list[Array] = []
        return _with_safety(self._guard.safety, {"observation": to_plain(self._observation, results)}, results)

    def _submit(self, header: Header, arrays: list[Array]) -> Later:
        command, later = from_plain(Command, header.get("command"), arrays), Later()
        with self._changed:
            if self._command is not None:
                self._rpc.answer(self._command[0], _replaced)
            self._command = later, command
            self._changed.notify()
        return later

    def _brake(self) -> None:
        """A robot that waits for its next period brakes at once; a command that waits for it is refused then."""
        with self._changed:
            self._hold_now = True
            self._changed.notify()

    def _tick_hold(self, header: Header, arrays: list[Array]) -> Later:
        later = Later()
        with self._changed:
            self._holds.append(later)
            self._changed.notify()
        return later

    def _between_periods(self, call: Callable[[Header, list[Array]], Reply]) -> Handler:
        """A handler that leaves `call`, and a look at the robot after it, to the control thread."""

        def handler(header: Header, arrays: list[Array]) -> Later:
            def work() -> Reply:
                reply = call(header, arrays)
                with contextlib.suppress(RobotFault):  # latched: whoever called is told by the next state, not instead
                    self._observation = self._guard.observe()
                return reply

            later = Later()
            with self._changed:
                self._work.append((later, work))
                self._changed.notify()
            return later

        return handler


def operator_handlers(guard: Guard) -> dict[str, Handler]:
    """What an operator may ask of a guard, from any thread: `state`, `stop`, `clear`, `renew`.

    Each answers with {safety}. In lockstep, where the guard lives in the actor, a thread there serves these alone.
    """

    def state(header: Header, arrays: list[Array]) -> Reply:
        return _with_safety(guard.safety)

    def stop(header: Header, arrays: list[Array]) -> Reply:
        return _with_safety(guard.stop(_text(header, "author"), _text(header, "reason")))

    def clear(header: Header, arrays: list[Array]) -> Reply:
        return _with_safety(guard.clear(_text(header, "cause_id"), _text(header, "author")))

    def renew(header: Header, arrays: list[Array]) -> Reply:
        guard.renew_operator()
        return _with_safety(guard.safety)

    return {"state": state, "stop": stop, "clear": clear, "renew": renew}


class GuardClient:
    """Implements `RobotPort` over a socket, and what an operator may ask of the guard.

    Motion and safety use connections of their own: a stop never waits behind a submit. Raises `DeadlineMissed` when the
    guard does not answer within `timeout_s` (a submit takes up to two control periods). With a `clock` that follows a
    guard's simulated one, an answer is returned when that clock has come as far as it: what is commanded next, by that
    clock, is not late.
    """

    def __init__(
        self, endpoint: str, timeout_s: float = 1.0, connect_timeout_s: float = 10.0, clock: Clock | None = None
    ) -> None:
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._clock = clock
        self._motion = RpcClient(endpoint)
        self._safety_line = RpcClient(endpoint)
        try:
            header, _ = self._motion.call("spec", timeout_s=connect_timeout_s)
            self._spec = from_plain(RobotSpec, header.get("spec"), ())
            self._safety = from_plain(SafetyState, self._motion.call("state")[0].get("safety"), ())
        except BaseException:
            self.close()
            raise

    @property
    def spec(self) -> RobotSpec:
        return self._spec

    @property
    def safety(self) -> SafetyState:
        """As of the last answer; `state` asks anew."""
        return self._safety

    def observe(self) -> Observation:
        """What the robot reported after the last control period."""
        header, arrays = self._ask(self._motion, "observe", {})
        return self._seen(from_plain(Observation, header.get("observation"), arrays))

    def submit(self, command: Command) -> CommandResult:
        """Returns when the control period has been carried out."""
        arrays: list[Array] = []
        header, results = self._ask(self._motion, "submit", {"command": to_plain(command, arrays)}, arrays)
        result = from_plain(CommandResult, header.get("result"), results)
        self._come_to(result.stamp_ns)
        return result

    def tick_hold(self) -> Observation:
        """Returns when the robot has held for one control period."""
        header, arrays = self._ask(self._motion, "tick_hold", {})
        return self._seen(from_plain(Observation, header.get("observation"), arrays))

    def check(self, chunk: Array) -> str | None:
        """Why the guard would reject a chunk [T, A] made now, or None."""
        reason = self._ask(self._motion, "check", {"chunk": 0}, [chunk])[0].get("reason")
        return None if reason is None else from_plain(str, reason, ())

    def begin(self) -> SafetyState:
        """Start from the measured pose (a new episode, a twin that was reset)."""
        self._ask(self._motion, "begin", {})
        return self._safety

    def set_active(self, active: bool) -> SafetyState:
        """Whether an episode or homing runs: only then are deadlines watched and commands carried out."""
        self._ask(self._motion, "set_active", {"active": active})
        return self._safety

    def call(self, name: str, header: Header, arrays: Sequence[Array] = ()) -> tuple[Header, list[Array]]:
        """One of the further calls that `serve_guard` was given."""
        return self._motion.call(name, header, arrays, self.timeout_s)

    def state(self) -> SafetyState:
        self._ask(self._safety_line, "state", {})
        return self._safety

    def stop(self, author: str, reason: str) -> SafetyState:
        """The state after the stop; no command of an older epoch is sent from then on."""
        patience_s = self.timeout_s + DRIVER_PATIENCE_S
        self._ask(self._safety_line, "stop", {"author": author, "reason": reason}, timeout_s=patience_s)
        return self._safety

    def clear(self, cause_id: str, author: str) -> SafetyState:
        self._ask(self._safety_line, "clear", {"cause_id": cause_id, "author": author})
        return self._safety

    def renew_operator(self) -> None:
        self._ask(self._safety_line, "renew", {})

    def close(self) -> None:
        self._motion.close()
        self._safety_line.close()

    def _ask(
        self,
        line: RpcClient,
        name: str,
        header: Header,
        arrays: Sequence[Array] = (),
        timeout_s: float | None = None,
    ) -> tuple[Header, list[Array]]:
        reply, results = line.call(name, header, arrays, timeout_s or self.timeout_s)
        self._safety = from_plain(SafetyState, reply.get("safety"), ())
        return reply, results

    def _seen(self, observation: Observation) -> Observation:
        self._come_to(observation.stamps_ns.get("robot", 0))
        return observation

    def _come_to(self, stamp_ns: int) -> None:
        if self._clock is not None:
            self._clock.sleep_until(stamp_ns)


def _outcome(work: Work) -> Work:
    """Do `work` now; what it returned or raised comes out when the result is called."""
    try:
        reply = work()
    except Exception as error:  # handed to the caller, and logged by the server
        caught = error

        def fail() -> Reply:
            raise caught

        return fail
    return lambda: reply


def _replaced() -> Reply:
    raise DeadlineMissed("a newer command came before this one's control period")


def _with_safety(safety: SafetyState, header: Header | None = None, arrays: Sequence[Array] = ()) -> Reply:
    return {"safety": to_plain(safety, []), **(header or {})}, arrays


def _text(header: Header, name: str) -> str:
    """A short text of an operator's request; the guard keeps it in its latch."""
    return from_plain(str, header.get(name, ""), ())[:200]
