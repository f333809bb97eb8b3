"""The next chunk is inferred while the present one runs, and what is stored says what was seen, decided and done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
import pytest

from robot_rl.control.episode import EpisodeRun
from robot_rl.control.inference import Flight, Inference, RoundTrips
from robot_rl.control.motion import Motion
from robot_rl.control.overlap import OverlappedRun
from robot_rl.control.ports import EpisodeRecord
from robot_rl.errors import DeadlineMissed
from robot_rl.types import Array, Context, Observation, Steering
from tests.control.cell import HORIZON, Cell, MemoryRecorder, PointAdapter, PointPolicy
from tests.control.test_asking import GuardClock

T = TypeVar("T")
STEP_S = 0.05
MAX_STEPS = 18
PATIENCE_S = 60.0
"""For a thread that has all it needs, on a machine that gives it nothing."""
LAST_LOOK = 2
"""Periods of holding after the last step, until what is seen then is encoded."""


class Due(Generic[T]):
    """Answered when the robot has gone through `after` more control periods."""

    def __init__(self, policy: TimedPolicy, after: int, result: Callable[[], T]) -> None:
        self._policy, self.due, self._result = policy, policy.periods + after, result
        self.cancelled = False

    def ready(self, wait_s: float = 0.0) -> bool:
        with self._policy.passed:
            self._policy.passed.wait_for(lambda: self._policy.periods >= self.due, wait_s)
            return self._policy.periods >= self.due

    def result(self) -> T:
        return self._result()

    def cancel(self) -> None:
        self.cancelled = True


class TimedPolicy(PointPolicy):
    """A server whose encode takes `after` control periods, by the robot's own count."""

    def __init__(self, after: Sequence[int], trouble: Callable[[str], None] = lambda call: None) -> None:
        super().__init__(trouble)
        self.after, self.asked = list(after), 0
        self.periods = 0
        self.passed = threading.Condition()
        self.observed: list[Array] = []
        self.begun: list[Due[Any]] = []

    def pass_period(self) -> None:
        with self.passed:
            self.periods += 1
            self.passed.notify_all()

    def begin_encode(self, observations: Sequence[Observation]) -> Due[Context]:
        after = self.after[min(self.asked, len(self.after) - 1)]
        self.asked += 1
        self.observed.append(observations[0].tcp_pose[:3].copy())
        with self.passed:
            self.begun.append(Due(self, after, lambda: self.encode(observations)))
            self.passed.notify_all()
        return self.begun[-1]

    def begin_decode(self, context: Context, noise: Array, latent: Array | None = None) -> Due[Array]:
        return Due(self, 0, lambda: self.decode(context, noise, latent))


class Lead(RoundTrips):
    """As if the round trips so far had said so."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows

    def lead(self, step_s: float, horizon: int, patience_s: float) -> int:
        return self._rows


class Scene:
    """One episode of a point robot whose policy answers by its control periods, whatever the threads do meanwhile."""

    def __init__(self, policy: TimedPolicy, lead: int, adapter: PointAdapter | None = None) -> None:
        self.cell, self.recorder, self.policy = Cell(), MemoryRecorder(), policy
        self.flights: list[Flight] = []
        self.cell.start_episode()
        self.motion = Motion(self.cell.guard, self.cell.session, GuardClock(self.cell.clock), self.pump)
        self.run = OverlappedRun(
            self.motion, policy, adapter or PointAdapter(), self.recorder,
            episode=1, max_steps=MAX_STEPS, discount=0.97, rng=np.random.default_rng(0), trips=Lead(lead),
        )  # fmt: skip

    def pump(self) -> None:
        self.cell.pump()
        self.policy.pass_period()
        if self.flights and self.policy.begun and self.policy.periods >= self.policy.begun[-1].due:
            self.flights[-1].ready(PATIENCE_S)

    def play(self) -> EpisodeRecord:
        begin = Inference.begin

        def noted(asking: Inference, observation: Observation, step: int, previous: Steering | None) -> Flight:
            before = len(self.policy.begun)
            self.flights.append(begin(asking, observation, step, previous))
            with self.policy.passed:  # the periods count from here, not from when a thread comes to run
                self.policy.passed.wait_for(lambda: len(self.policy.begun) > before)
            return self.flights[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Inference, "begin", noted)
            return self.run.run()

    def check(self) -> None:
        """No step lost, none twice, and what each transition holds is what the robot got after its observation."""
        transitions, applied = self.recorder.transitions, np.array(self.cell.robot.applied)
        assert [t.index for t in transitions] == list(range(len(transitions)))
        assert sum(t.k_executed for t in transitions) == len(applied)
        chunk_of = [step["chunk"] for step in self.recorder.topic("/steps") if step["verdict"] != "held"]
        begins = np.cumsum([0, *(t.k_executed for t in transitions[:-1])])
        for t, began, own in zip(transitions, begins, dict.fromkeys(chunk_of), strict=True):
            over = max(step for step, chunk in enumerate(chunk_of) if chunk == own) + 1
            np.testing.assert_array_equal(t.executed_chunk[: over - began], applied[began:over])
            planned = t.base_chunk[over - began :] + np.float32([0, 0, 0.0005, 0])
            np.testing.assert_allclose(t.executed_chunk[over - began :], planned, atol=1e-9)
            assert 0 < t.k_executed <= HORIZON
        for one, following in pairwise(transitions):
            np.testing.assert_array_equal(one.next_features, following.features)
            np.testing.assert_array_equal(one.next_z, following.z)
            assert not one.terminal
            assert not one.truncated
        start = self.cell.robot.xyz - applied[:, :3].sum(0)
        for t, began in zip(transitions, begins, strict=True):
            np.testing.assert_allclose(t.features, start + applied[:began, :3].sum(0), atol=1e-6)


@pytest.mark.parametrize("lead", range(3))
@pytest.mark.parametrize("after", [[0], [1], [2], [3], [5], [1, 3, 0, 2], [2, 0, 7, 1]])
def test_steps_decisions_and_observations_are_stored_as_they_were(lead: int, after: list[int]) -> None:
    scene = Scene(TimedPolicy(after), lead)
    record = scene.play()
    scene.check()
    assert (record.steps, record.complete, record.ended_by) == (MAX_STEPS, True, "timeout")
    last = scene.recorder.transitions[-1]
    assert (last.truncated, last.terminal) == (True, False)


@pytest.mark.parametrize(("lead", "held"), [(0, 2 * 5), (1, 2 + 5 * 1), (2, 2)])
def test_a_robot_whose_next_chunk_was_asked_for_in_time_does_not_wait_for_it(lead: int, held: int) -> None:
    """Chunks of 4 rows, answers after 2 periods, 18 steps; the last look is waited for as ever."""
    scene = Scene(TimedPolicy([2]), lead)
    record = scene.play()
    assert scene.recorder.topic("/held")[0]["why"] == "holding, the policy has not answered yet"
    assert record.verdicts["held"] - LAST_LOOK == held


def test_each_decision_is_told_of_the_newest_whose_chunk_took_over() -> None:
    adapter = PointAdapter()
    late = iter([False, True])

    def trouble(call: str) -> None:
        if call == "decode" and next(late, False):
            raise DeadlineMissed("late")

    scene = Scene(TimedPolicy([1], trouble), lead=2, adapter=adapter)
    scene.play()
    first, _lost, *more = adapter.decided
    assert more
    assert all(told is due for told, due in zip(adapter.asked, [None, first, first, *more[:-1]], strict=True))


def test_after_a_chunk_that_the_guard_refuses_exploration_begins_anew() -> None:
    adapter = PointAdapter()
    scene = Scene(TimedPolicy([1]), lead=2, adapter=adapter)
    check = scene.motion.port.check
    answers = iter([None, "not there"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene.motion.port, "check", lambda rows: next(answers, None) or check(rows))
        scene.play()
    assert len(scene.recorder.topic("/rejected")) == 1
    expected = [None, adapter.decided[0], None, *adapter.decided[2:-1]]
    assert all(told is due for told, due in zip(adapter.asked, expected, strict=True))


def test_rows_that_were_overtaken_are_skipped_and_the_record_says_how_old_the_decision_was() -> None:
    scene = Scene(TimedPolicy([2]), lead=2)
    scene.play()
    rows = [(step["chunk"] % 1000, step["row"]) for step in scene.recorder.topic("/steps")]
    assert rows[:8] == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 2), (2, 3)]
    first = scene.recorder.topic("/spliced")[0]
    assert (first["chunk"] % 1000, first["skipped"], first["dropped"]) == (1, 2, 0)
    assert first["age_ms"] > 0
    np.testing.assert_allclose(first["seam"], np.array(scene.cell.robot.applied[4]) - scene.cell.robot.applied[3])
    seen = [t.k_executed for t in scene.recorder.transitions]
    assert seen[:3] == [2, 2, 2], "of the second chunk on, the steps until the next look are the former chunk's"


def test_a_chunk_that_comes_early_takes_over_at_once() -> None:
    scene = Scene(TimedPolicy([0, 1]), lead=2)
    scene.play()
    rows = [(step["chunk"] % 1000, step["row"]) for step in scene.recorder.topic("/steps")]
    assert rows[:6] == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]
    assert scene.recorder.topic("/spliced")[0]["dropped"] == 1


@pytest.mark.parametrize("when", range(1, MAX_STEPS))
def test_an_episode_that_ends_while_a_chunk_is_asked_for_is_whole(when: int) -> None:
    scene = Scene(TimedPolicy([0, 2]), lead=2)
    scene.cell.at[when] = lambda: scene.cell.label(1, "success", "e1")
    record = scene.play()
    scene.check()
    assert (record.complete, record.ended_by) == (True, "success")
    assert [t.terminal for t in scene.recorder.transitions][-1]
    assert all(flight.ready() for flight in scene.flights), "nothing is asked any more"


def test_a_request_that_fails_is_made_again_while_the_old_chunk_runs() -> None:
    calls = 0

    def trouble(name: str) -> None:
        nonlocal calls
        calls += name == "encode"
        if name == "encode" and calls == 2:
            raise DeadlineMissed("encode: no answer in time")

    scene = Scene(TimedPolicy([0], trouble), lead=2)
    record = scene.play()
    scene.check()
    assert record.verdicts["held"] == 0
    assert [m["why"] for m in scene.recorder.topic("/missed")] == [
        "the policy gives no chunk: encode: no answer in time"
    ]


def test_a_chunk_that_the_guard_refuses_leaves_the_old_one_running() -> None:
    class Wild(TimedPolicy):
        def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
            self.asked_for = getattr(self, "asked_for", 0) + 1
            return super().decode(context, noise, latent) + np.float32(0.2 * (self.asked_for == 2))

    scene = Scene(Wild([0]), lead=2)
    record = scene.play()
    scene.check()
    assert record.verdicts["rejected"] == 1
    assert record.verdicts["held"] == 0
    assert "a chunk was rejected" in scene.recorder.topic("/missed")[0]["why"]


def test_what_is_clipped_at_a_seam_is_counted() -> None:
    class Turning(TimedPolicy):
        def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
            self.asked_for = getattr(self, "asked_for", 0) + 1
            chunk = super().decode(context, noise, latent)
            chunk[..., 0] = 0.020 * (-1) ** self.asked_for  # 40 mm apart, 30 are allowed per tick
            return chunk

    scene = Scene(Turning([0, 1]), lead=2)
    record = scene.play()
    scene.check()
    (counts,) = scene.recorder.topic("/overlap")
    assert counts["splices"] == len(scene.recorder.topic("/spliced")) > 3
    assert counts["clipped"] == counts["splices"]
    jumps = np.linalg.norm(np.diff(np.array(scene.cell.robot.applied)[:, :3], axis=0), axis=1)
    assert jumps.max() <= 0.030 + 1e-9
    assert record.verdicts["rejected"] == 0


def test_without_a_lead_it_is_the_loop_that_waits_bit_for_bit() -> None:
    scene = Scene(TimedPolicy([0]), lead=0)
    scene.play()
    cell, recorder = Cell(), MemoryRecorder()
    cell.start_episode()
    EpisodeRun(
        cell.motion, PointPolicy(), PointAdapter(), recorder,
        episode=1, max_steps=MAX_STEPS, discount=0.97, rng=np.random.default_rng(0),
    ).run()  # fmt: skip
    assert len(recorder.transitions) == 5
    for ours, theirs in zip(scene.recorder.transitions, recorder.transitions, strict=True):
        for field in fields(theirs):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), field.name)
    assert not scene.recorder.topic("/spliced")


def test_a_chunk_is_asked_for_as_early_as_the_slowest_but_one_in_twenty_needed() -> None:
    trips = RoundTrips()
    assert trips.lead(STEP_S, 8, 0.025) == 0, "nothing is known: wait, and measure"
    for seconds in [0.12] * 19 + [5.0]:
        trips.add(seconds)
    assert trips.p95_s == 0.12
    assert trips.lead(STEP_S, 8, 0.025) == 3
    assert trips.lead(STEP_S, 4, 0.025) == 2, "half a chunk at most"
    assert trips.lead(STEP_S, 1, 0.025) == 0
    for _ in range(64):
        trips.add(0.010)
    assert trips.lead(STEP_S, 8, 0.025) == 0, "within the patience at a seam nothing is won"
