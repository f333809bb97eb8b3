"""A policy that answers later costs periods of holding by the clock on the wall, and nothing in lockstep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
import pytest

from robot_rl.clock import Clock, RealClock, SteppedClock
from robot_rl.control.episode import EpisodeRun
from robot_rl.control.motion import Motion
from robot_rl.control.ports import EpisodeRecord
from robot_rl.errors import PolicyReplaced
from robot_rl.types import Array, Context, Observation
from tests.control.cell import Cell, MemoryRecorder, PointAdapter, PointPolicy

T = TypeVar("T")


class Slow(Generic[T]):
    """Ready when it was asked `asks` times before."""

    def __init__(self, asks: int, result: Callable[[], T]) -> None:
        self.left, self._result, self.cancelled = asks, result, False

    def ready(self, wait_s: float = 0.0) -> bool:
        assert wait_s < 0.05, "less than a control period"
        self.left -= 1
        return self.left < 0

    def result(self) -> T:
        return self._result()

    def cancel(self) -> None:
        self.cancelled = True


class SlowPolicy(PointPolicy):
    """Answers at once when it is waited for, and after `asks` when it is not."""

    def __init__(self, asks: int, trouble: Callable[[str], None] = lambda call: None) -> None:
        super().__init__(trouble)
        self.asks = asks
        self.begun: list[Slow[Context] | Slow[Array]] = []

    def begin_encode(self, observations: Sequence[Observation]) -> Slow[Context]:
        call = Slow(self.asks, lambda: self.encode(observations))
        self.begun.append(call)
        return call

    def begin_decode(self, context: Context, noise: Array, latent: Array | None = None) -> Slow[Array]:
        call = Slow(self.asks, lambda: self.decode(context, noise, latent))
        self.begun.append(call)
        return call


def run_episode(cell: Cell, recorder: MemoryRecorder, policy: PointPolicy, clock: Clock) -> EpisodeRecord:
    cell.start_episode()
    motion = Motion(cell.guard, cell.session, clock, cell.pump)
    motion.begin()
    run = EpisodeRun(
        motion, policy, PointAdapter(), recorder,
        episode=1, max_steps=8, discount=0.97, rng=np.random.default_rng(0),
    )  # fmt: skip
    return run.run()


class GuardClock(RealClock):
    """Real as far as the control loop can tell, and the guard's own."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        return self._clock.now_ns()


def test_every_period_of_waiting_is_held_and_counted_and_its_reason_recorded_once() -> None:
    cell, recorder, policy = Cell(), MemoryRecorder(), SlowPolicy(asks=3)
    record = run_episode(cell, recorder, policy, GuardClock(cell.clock))
    assert (record.steps, record.complete, record.ended_by) == (8, True, "timeout")
    assert len(policy.begun) == 5, "an encode and a decode for each of two chunks, and the last look"
    assert cell.robot.held == record.verdicts["held"] == 15
    reasons = [message["why"] for message in recorder.topic("/held")]
    assert reasons == ["holding, the policy has not answered yet"] * 3, "once for each chunk, and for the last look"
    assert [t.k_executed for t in recorder.transitions] == [4, 4]


def test_in_lockstep_it_is_waited_for_and_the_episode_is_the_same() -> None:
    chunks = []
    for policy in (PointPolicy(), SlowPolicy(asks=3)):
        cell, recorder = Cell(), MemoryRecorder()
        run_episode(cell, recorder, policy, cell.clock)
        assert cell.robot.held == 0
        chunks.append([t.executed_chunk.tobytes() for t in recorder.transitions])
    assert chunks[0] == chunks[1]
    assert not policy.begun


def test_an_operator_who_ends_the_episode_meanwhile_is_heard_and_the_call_given_up() -> None:
    cell, recorder, policy = Cell(), MemoryRecorder(), SlowPolicy(asks=10_000)
    cell.at[5] = lambda: cell.press("end")
    cell.at[6] = lambda: setattr(policy, "asks", 0)
    record = run_episode(cell, recorder, policy, GuardClock(cell.clock))
    assert (record.ended_by, record.steps) == ("operator", 0)
    assert policy.begun[0].cancelled


@pytest.mark.parametrize("call", ["encode", "decode"])
def test_a_server_that_is_another_now_holds_the_robot_until_it_is_itself_again(call: str) -> None:
    calls = 0

    def trouble(name: str) -> None:
        nonlocal calls
        calls += name == call
        if name == call and 2 <= calls <= 6:
            raise PolicyReplaced("expected the policy of spec a, the other side has b")

    cell, recorder = Cell(), MemoryRecorder()
    record = run_episode(cell, recorder, PointPolicy(trouble), cell.clock)
    assert (record.steps, record.complete) == (8, True)
    assert cell.robot.held == record.verdicts["held"] == 5
    assert ["the other side has b" in message["why"] for message in recorder.topic("/held")] == [True]
