from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from robot_rl.control.episode import LAST_LOOKS, REJECTIONS, EpisodeRun
from robot_rl.control.ports import EpisodeRecord
from robot_rl.control.progress import State
from robot_rl.errors import BadObservation, DeadlineMissed, RobotFault
from robot_rl.types import Array, Transition
from tests.control.cell import HORIZON, Cell, MemoryRecorder, PointAdapter, PointPolicy

MAX_STEPS = 10


@pytest.fixture
def cell() -> Cell:
    return Cell()


@pytest.fixture
def recorder() -> MemoryRecorder:
    return MemoryRecorder()


def run_episode(
    cell: Cell,
    recorder: MemoryRecorder,
    policy: PointPolicy | None = None,
    *,
    seed: int = 0,
    max_steps: int = MAX_STEPS,
    adapter: PointAdapter | None = None,
) -> EpisodeRecord:
    cell.start_episode()
    return EpisodeRun(
        cell.motion,
        policy or PointPolicy(),
        adapter or PointAdapter(),
        recorder,
        episode=cell.session.episode,
        max_steps=max_steps,
        discount=0.97,
        rng=np.random.default_rng(seed),
    ).run()


def sent_rows(transitions: list[Transition]) -> list[Array]:
    """Every row that the transitions say was sent, in order."""
    return [row for t in transitions for row in t.executed_chunk[: t.k_executed]]


def check_chain(cell: Cell, recorder: MemoryRecorder) -> None:
    """No transition lost, none twice, and what they hold is what the robot got."""
    transitions = recorder.transitions
    assert [t.index for t in transitions] == list(range(len(transitions)))
    np.testing.assert_array_equal(sent_rows(transitions), cell.robot.applied)
    for one, following in pairwise(transitions):
        assert (one.terminal, one.truncated) == (False, False)
        np.testing.assert_array_equal(one.next_features, following.features)
        assert one.next_z is not None
        assert following.z is not None
        np.testing.assert_array_equal(one.next_z, following.z)


def test_time_limit_truncates_and_every_chunk_has_its_transition(cell: Cell, recorder: MemoryRecorder) -> None:
    record = run_episode(cell, recorder)
    check_chain(cell, recorder)
    assert (record.ended_by, record.truncated, record.terminal, record.complete) == ("timeout", True, False, True)
    assert record.steps == MAX_STEPS == len(cell.robot.applied) == record.verdicts["pass"]
    assert [t.k_executed for t in recorder.transitions] == [4, 4, 2]
    last = recorder.transitions[-1]
    assert (last.truncated, last.terminal) == (True, False)
    np.testing.assert_allclose(last.next_features, cell.robot.xyz, atol=1e-6)
    assert cell.session.state is State.HOMING


def test_each_chunk_that_is_begun_is_told_with_the_epoch_of_its_commands(cell: Cell, recorder: MemoryRecorder) -> None:
    run_episode(cell, recorder)
    chunks, epochs = zip(*recorder.chunks, strict=True)
    assert [chunk.id for chunk in chunks] == sorted({step["chunk"] for step in recorder.topic("/steps")})
    assert set(epochs) == {cell.guard.safety.epoch} == {step["epoch"] for step in recorder.topic("/steps")}
    for chunk, transition in zip(chunks, recorder.transitions, strict=True):
        np.testing.assert_array_equal(chunk.base, transition.base_chunk)


def test_rows_after_the_end_are_as_planned(cell: Cell, recorder: MemoryRecorder) -> None:
    run_episode(cell, recorder)
    last = recorder.transitions[-1]
    planned = last.base_chunk[last.k_executed :].copy()
    planned[:, 2] += 0.0005
    np.testing.assert_allclose(last.executed_chunk[last.k_executed :], planned, atol=1e-9)


def test_the_residual_is_executed_and_the_base_chunk_kept_without_it(cell: Cell, recorder: MemoryRecorder) -> None:
    run_episode(cell, recorder)
    first = recorder.transitions[0]
    np.testing.assert_array_equal(first.base_chunk[:, 2], 0)
    np.testing.assert_allclose(first.executed_chunk[:, 2], 0.0005)
    np.testing.assert_array_equal(first.steer, first.noise.reshape(-1))
    assert first.discount == 0.97


def test_each_decision_is_told_of_the_one_before_it_in_the_same_episode(cell: Cell, recorder: MemoryRecorder) -> None:
    adapter = PointAdapter()
    for _ in range(2):
        run_episode(Cell(), MemoryRecorder(), adapter=adapter)
    first, second = adapter.decided[:3], adapter.decided[3:]
    assert len(second) == 3
    expected = [None, *first[:-1], None, *second[:-1]]
    assert all(told is due for told, due in zip(adapter.asked, expected, strict=True))


def test_a_whole_chunk_is_executed_and_the_base_chunk_kept(cell: Cell, recorder: MemoryRecorder) -> None:
    own = np.tile(np.array([0.001, -0.002, 0.0, 0.04], np.float32), (HORIZON, 1))
    run_episode(cell, recorder, adapter=PointAdapter(whole_chunk=own))
    first = recorder.transitions[0]
    np.testing.assert_allclose(first.executed_chunk, own, atol=1e-7)
    np.testing.assert_allclose(first.base_chunk[:, 0], 0.006)


def test_executed_is_what_the_filter_sent_not_what_was_asked(cell: Cell, recorder: MemoryRecorder) -> None:
    policy = PointPolicy()
    policy.shift[:, 0] = 0.020  # 26 mm a step, 22 are allowed
    record = run_episode(cell, recorder, policy)
    check_chain(cell, recorder)
    assert record.verdicts["clipped"] == MAX_STEPS
    first = recorder.transitions[0]
    np.testing.assert_allclose(first.base_chunk[:, 0], 0.026)
    assert np.all(np.linalg.norm(first.executed_chunk[:, :3], axis=1) < 0.02201)
    steps = recorder.topic("/steps")
    np.testing.assert_array_equal([step["sent"] for step in steps], cell.robot.applied)
    assert all("step clipped" in step["reason"] for step in steps[1:])


@pytest.mark.parametrize("when", range(1, MAX_STEPS))
@pytest.mark.parametrize("value", ["success", "failure", "discard", None])
def test_ended_by_the_operator_after_any_step(
    cell: Cell, recorder: MemoryRecorder, when: int, value: str | None
) -> None:
    cell.at[when] = lambda: cell.press("end") if value is None else cell.label(1, value, "e1")
    record = run_episode(cell, recorder)
    check_chain(cell, recorder)
    assert record.steps == when
    assert record.ended_by == (value if value in ("success", "failure") else "operator")
    assert record.complete
    last = recorder.transitions[-1]
    assert (last.terminal, last.truncated) == (True, False)
    assert last.k_executed == (when - 1) % HORIZON + 1


@pytest.mark.parametrize("when", range(1, MAX_STEPS))
def test_a_pause_holds_and_goes_on_where_it_was(cell: Cell, recorder: MemoryRecorder, when: int) -> None:
    held_at: list[Array] = []

    def pause() -> None:
        held_at.append(cell.robot.xyz.copy())
        cell.press("pause")

    def resume() -> None:
        held_at.append(cell.robot.xyz.copy())
        assert cell.session.state is State.PAUSED
        cell.press("run")

    cell.at[when] = pause
    cell.at[when + 5] = resume
    record = run_episode(cell, recorder)
    check_chain(cell, recorder)
    assert cell.robot.held == 5
    np.testing.assert_array_equal(held_at[0], held_at[1])
    assert (record.ended_by, record.steps, record.complete) == ("timeout", MAX_STEPS, True)

    other, undisturbed = Cell(), MemoryRecorder()
    run_episode(other, undisturbed)
    np.testing.assert_array_equal(cell.robot.applied, other.robot.applied)


def test_ended_from_a_pause_without_another_motion(cell: Cell, recorder: MemoryRecorder) -> None:
    cell.at[6] = lambda: cell.press("pause")
    cell.at[9] = lambda: cell.press("end")
    record = run_episode(cell, recorder)
    check_chain(cell, recorder)
    assert (record.steps, record.ended_by) == (6, "operator")
    assert recorder.transitions[-1].terminal
    assert cell.session.state is State.PAUSED


def test_ended_between_two_chunks_the_last_transition_still_says_so(cell: Cell, recorder: MemoryRecorder) -> None:
    """The chunk before is over and done with, the next one has not moved the robot."""
    calls = 0

    def press_end(call: str) -> None:
        nonlocal calls
        calls += call == "decode"
        if call == "decode" and calls == 2:
            cell.press("end")

    record = run_episode(cell, recorder, PointPolicy(press_end))
    check_chain(cell, recorder)
    assert (record.steps, record.transitions) == (4, 1)
    assert recorder.transitions[0].terminal


@pytest.mark.parametrize("when", range(1, MAX_STEPS))
@pytest.mark.parametrize("cleared", [False, True], ids=["latched", "cleared at once"])
def test_a_stop_ends_the_episode_and_not_one_command_follows(
    cell: Cell, recorder: MemoryRecorder, when: int, cleared: bool
) -> None:
    def stop() -> None:
        cell.guard.stop("ana", "test")
        if cleared:  # by someone else, before the control loop has looked
            cell.guard.clear(cell.causes()[0], "ben")

    cell.at[when] = stop
    record = run_episode(cell, recorder)
    check_chain(cell, recorder)
    assert len(cell.robot.applied) == when
    assert (record.ended_by, record.complete, record.terminal, record.truncated) == ("aborted", False, False, False)
    assert cell.session.state is (State.PAUSED if cleared else State.STOPPED)
    if not cleared:
        assert recorder.topic("/safety")[-1]["causes"][0]["kind"] == "operator_stop"


def test_a_robot_fault_ends_the_episode_as_fault(cell: Cell, recorder: MemoryRecorder) -> None:
    def break_robot() -> None:
        cell.robot.fault = RobotFault("joint 4 torque reflex")

    cell.at[6] = break_robot
    record = run_episode(cell, recorder)
    assert (record.ended_by, record.complete) == ("fault", False)
    assert cell.session.state is State.FAULT
    assert "joint 4" in cell.session.now.why
    assert len(recorder.transitions) == 1
    assert (recorder.transitions[0].terminal, recorder.transitions[0].truncated) == (False, False)


def test_a_rejected_chunk_moves_nothing_and_another_is_planned(cell: Cell, recorder: MemoryRecorder) -> None:
    policy, plans = PointPolicy(), 0

    def shift(call: str) -> None:
        nonlocal plans
        plans += call == "decode"
        policy.shift[:, 0] = np.nan if plans in (2, 3, 5, 6) else 0.0

    policy.trouble = shift
    record = run_episode(cell, recorder, policy)
    check_chain(cell, recorder)
    assert (record.ended_by, record.complete, record.verdicts["rejected"]) == ("timeout", True, 4)
    assert (cell.robot.held, len(cell.robot.applied)) == (4, MAX_STEPS)
    assert all("finite" in message["reason"] for message in recorder.topic("/rejected"))
    assert all(np.isfinite(t.executed_chunk).all() for t in recorder.transitions)


def test_chunks_rejected_in_a_row_end_it_as_a_fault(cell: Cell, recorder: MemoryRecorder) -> None:
    policy, plans = PointPolicy(), 0

    def shift(call: str) -> None:
        nonlocal plans
        plans += call == "decode"
        policy.shift[:, 0] = 0.0 if plans == 1 else 1.0

    policy.trouble = shift
    record = run_episode(cell, recorder, policy)
    assert (record.ended_by, record.complete, record.steps) == ("fault", False, HORIZON)
    assert plans == 1 + REJECTIONS == 1 + len(recorder.topic("/rejected"))
    assert "rejected in a row" in cell.session.now.why


def test_a_row_rejected_on_its_way_cuts_the_chunk(
    cell: Cell, recorder: MemoryRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a driver or a guard that sees more than `check` did can do this; the transition says what happened."""
    policy, plans = PointPolicy(), 0

    def shift(call: str) -> None:
        nonlocal plans
        plans += call == "decode"
        policy.shift[2:, 0] = np.nan if plans == 1 else 0.0

    policy.trouble = shift
    monkeypatch.setattr(cell.guard, "check", lambda chunk: None)
    record = run_episode(cell, recorder, policy)
    check_chain(cell, recorder)
    first = recorder.transitions[0]
    assert (first.k_executed, record.verdicts["rejected"]) == (2, 1)
    np.testing.assert_array_equal(first.executed_chunk[2:], [[0, 0, 0, cell.robot.gripper_width]] * 2)


@pytest.mark.parametrize("checked", [True, False])
def test_after_a_refused_chunk_exploration_begins_anew(
    cell: Cell, recorder: MemoryRecorder, monkeypatch: pytest.MonkeyPatch, checked: bool
) -> None:
    """Refused as a whole, or on its way; what went on from it would be likely to be refused too."""
    policy, adapter, plans = PointPolicy(), PointAdapter(), 0

    def shift(call: str) -> None:
        nonlocal plans
        plans += call == "decode"
        policy.shift[2:, 0] = np.nan if plans == 2 else 0.0

    policy.trouble = shift
    if not checked:
        monkeypatch.setattr(cell.guard, "check", lambda chunk: None)
    run_episode(cell, recorder, policy, adapter=adapter)
    assert len(recorder.topic("/rejected")) == 1
    expected = [None, adapter.decided[0], None, *adapter.decided[2:-1]]
    assert all(told is due for told, due in zip(adapter.asked, expected, strict=True))


def test_after_a_chunk_that_never_came_exploration_goes_on_from_the_one_before(
    cell: Cell, recorder: MemoryRecorder
) -> None:
    adapter, late = PointAdapter(), iter([False, True])

    def trouble(call: str) -> None:
        if call == "decode" and next(late, False):
            raise DeadlineMissed("slow")

    run_episode(cell, recorder, PointPolicy(trouble), adapter=adapter)
    first, _lost, *more = adapter.decided
    assert more
    assert all(told is due for told, due in zip(adapter.asked, [None, first, first, *more[:-1]], strict=True))


@pytest.mark.parametrize("call", ["encode", "decode"])
@pytest.mark.parametrize("error", [DeadlineMissed("slow"), BadObservation("no image")])
def test_a_silent_policy_holds_the_robot_until_it_answers(
    cell: Cell, recorder: MemoryRecorder, call: str, error: Exception
) -> None:
    calls, reasons = 0, list[str]()

    def trouble(name: str) -> None:
        nonlocal calls
        calls += name == call
        if name == call and 2 <= calls <= 8:
            reasons.append(cell.session.now.why)
            raise error

    record = run_episode(cell, recorder, PointPolicy(trouble))
    assert (record.ended_by, record.complete, record.steps) == ("timeout", True, MAX_STEPS)
    np.testing.assert_array_equal(sent_rows(recorder.transitions), cell.robot.applied)
    assert cell.robot.held == 7
    assert all("holding" in why and str(error) in why for why in reasons[1:])
    assert cell.session.now.why == f"time limit of {MAX_STEPS} steps"
    assert any(cause.kind == "command_late" for cause in cell.guard.history)


def test_an_operator_can_end_it_while_the_policy_is_silent(cell: Cell, recorder: MemoryRecorder) -> None:
    answers = 0

    def trouble(name: str) -> None:
        nonlocal answers
        answers += 1
        if answers > 2:
            raise DeadlineMissed("the server is gone")

    cell.at[12] = lambda: cell.press("end")
    record = run_episode(cell, recorder, PointPolicy(trouble))
    assert (record.ended_by, record.complete) == ("operator", False), "the last transition lacks its next features"
    assert record.transitions == 0
    assert cell.robot.held <= 12 + LAST_LOOKS


def test_an_operator_who_falls_silent_holds_the_robot_and_loses_nothing(cell: Cell, recorder: MemoryRecorder) -> None:
    def silence() -> None:
        cell.renew = False

    def back() -> None:
        cell.renew = True

    cell.at[2] = silence
    cell.at[25] = back
    record = run_episode(cell, recorder, max_steps=20)
    check_chain(cell, recorder)
    assert (record.ended_by, record.steps, record.complete) == ("timeout", 20, True)
    assert record.verdicts["held"] == cell.robot.held > 0
    assert any(cause["kind"] == "operator_silent" for m in recorder.topic("/safety") for cause in m["causes"])


def test_same_seed_same_episode_bit_for_bit() -> None:
    runs = []
    for seed in (5, 5, 6):
        cell, recorder = Cell(), MemoryRecorder()
        run_episode(cell, recorder, seed=seed)
        runs.append((recorder, [t.executed_chunk.tobytes() + t.noise.tobytes() for t in recorder.transitions]))
    assert runs[0][1] == runs[1][1]
    assert runs[0][0].messages == runs[1][0].messages
    assert runs[0][1] != runs[2][1]


def test_nothing_moves_afterwards(cell: Cell, recorder: MemoryRecorder) -> None:
    run_episode(cell, recorder)
    before = len(cell.robot.applied)
    cell.motion.step(np.array([0.005, 0, 0, 0.04]), 0, 0)
    assert len(cell.robot.applied) == before, "the guard is inactive between episodes"
