from __future__ import annotations

import threading
from typing import Any

import pytest

from robot_rl.control.progress import State
from robot_rl.control.session import Session
from robot_rl.errors import ConfigError, IllegalTransition, LabelConflict, StoreError
from robot_rl.types import Label, LabelValue
from tests.control.cell import Cell, MemoryBook


@pytest.fixture
def cell() -> Cell:
    return Cell()


def to_label(cell: Cell) -> None:
    """Episode 1 has run into its time limit and waits for its label."""
    cell.start_episode()
    cell.session.end_episode("timeout", "time limit")
    close(cell)
    cell.session.homed()
    assert state(cell) is State.AWAIT_LABEL


def close(cell: Cell, complete: bool = True) -> None:
    cell.book.close_episode(cell.session.episode)
    cell.session.close_episode(complete)


def state(cell: Cell) -> State:
    return cell.session.state


def labels(cell: Cell) -> list[tuple[int, str]]:
    return [(event.label.episode, event.label.value.value) for event in cell.book.log]


def test_the_whole_round(cell: Cell) -> None:
    session = cell.session
    session_states = [session.state.value]

    def note(done: object) -> None:
        session_states.append(session.state.value)

    note(cell.press("arm"))
    note(cell.press("run"))
    for episode in (1, 2, 3):
        assert session.begin_episode()
        session.end_episode("timeout", "")
        note("episode over")
        close(cell)
        session.homed()
        note("arm back")
        assert session.awaiting_label == episode
        note(cell.label(episode, "success", f"e{episode}"))
        if episode < 3:
            note(cell.press("reset_done"))
    cycle = ["RUNNING", "HOMING", "AWAIT_LABEL", "AWAIT_RESET"]
    assert session_states == ["DISARMED", "PAUSED", *cycle, *cycle, *cycle[:3], "FINISHED"]
    assert labels(cell) == [(1, "success"), (2, "success"), (3, "success")]


def test_whoever_takes_over_finds_nothing_moving_and_that_is_on_record(cell: Cell) -> None:
    for phase in ("DISARMED", "RUNNING", "AWAIT_LABEL"):
        if phase == "RUNNING":
            cell.start_episode()
        if phase == "AWAIT_LABEL":
            cell.press("run")
            cell.session.end_episode("timeout", "time limit")
            close(cell)
            cell.session.homed()
        assert state(cell).value == phase
        cell.press("take_over")
        assert state(cell).value == ("PAUSED" if phase == "RUNNING" else phase)
        kind, _, detail = cell.book.audit[-1]
        assert (kind, detail["before"], detail["after"]) == ("command.take_over", phase, state(cell).value)
    assert "label" in [name for name, why in cell.session.allowed().items() if why is None]


def test_what_was_done_on_the_page_was_done_by_a_person_and_is_on_record_as_the_pages(cell: Cell) -> None:
    cell.start_episode()
    for author, words in (("page", "paused by the operator"), ("script", "paused by script")):
        cell.session.command("pause", {}, author, 0)
        assert cell.session.now.why == words
        assert cell.book.audit[-1][1] == author
        cell.press("run")
    label = {"episode": 1, "value": "success", "event_id": "a"}
    cell.session.command("label", label, "page", 0)
    assert cell.session.now.why == "success, seen by the operator"
    close(cell)
    assert cell.book.episodes()[0].author == "page"


def test_a_label_that_came_another_way_is_not_asked_for_again(cell: Cell) -> None:
    """`robot-rl label` writes into the log past the session."""
    to_label(cell)
    before = cell.session.listed
    cell.book.add_label(Label("cli", 1, LabelValue.SUCCESS, "bob"))
    cell.session.follow_labels()
    assert state(cell) is State.AWAIT_RESET
    assert cell.session.now.why == "labelled success by bob"
    assert cell.session.listed > before
    with pytest.raises(IllegalTransition, match="no label is awaited"):
        cell.label(1, "failure", "late")
    cell.press("undo", episode=1)
    assert labels(cell) == [(1, "success"), (1, "discard")]


def test_a_label_that_came_while_the_arm_went_back_is_not_asked_for(cell: Cell) -> None:
    cell.start_episode()
    cell.session.end_episode("timeout", "time limit")
    close(cell)
    cell.book.add_label(Label("cli", 1, LabelValue.FAILURE, "bob"))
    cell.session.follow_labels()
    assert state(cell) is State.HOMING
    cell.session.homed()
    assert state(cell) is State.AWAIT_RESET


def test_labels_that_came_another_way_count_as_planned_ones(cell: Cell) -> None:
    to_label(cell)
    cell.label(1, "discard", "e1")
    cell.press("reset_done")
    for episode in (1, 2, 3):
        cell.book.close_episode(episode)
        cell.book.add_label(Label(f"cli{episode}", episode, LabelValue.SUCCESS, "bob"))
    cell.session.follow_labels()
    assert state(cell) is State.FINISHED


def test_discarded_and_cut_off_episodes_do_not_count(cell: Cell) -> None:
    to_label(cell)
    cell.label(1, "discard", "e1")
    for episode in (2, 3):
        cell.press("reset_done")
        assert cell.session.begin_episode()
        cell.session.end_episode("fault", "three rejected")
        close(cell, complete=False)
        cell.session.homed()
        assert state(cell) is State.AWAIT_RESET, "nobody is asked about an episode that is not trained on"
        assert cell.session.episode == episode
    assert labels(cell) == [(1, "discard")]


@pytest.mark.parametrize(("value", "by"), [("success", "success"), ("failure", "failure"), ("discard", "operator")])
def test_a_label_while_running_ends_the_episode_and_is_stored_when_it_is_closed(
    cell: Cell, value: str, by: str
) -> None:
    cell.start_episode()
    answer = cell.label(1, value, "e1")
    assert answer == {"state": "HOMING", "episode": 1, "value": value, "stored": False}
    assert cell.session.now.ended_by == by
    assert labels(cell) == [], "the store has no such episode yet"
    close(cell)
    assert labels(cell) == [(1, value)]
    cell.session.homed()
    assert state(cell) is State.AWAIT_RESET, "one press labels once"


def test_a_label_pressed_again_while_running_or_homing_does_nothing_more(cell: Cell) -> None:
    cell.start_episode()
    first = cell.label(1, "success", "e1")
    assert cell.label(1, "success", "e1") == first
    with pytest.raises(LabelConflict, match="e1"):
        cell.label(1, "failure", "e1")
    with pytest.raises(IllegalTransition, match="HOMING"):
        cell.label(1, "failure", "e2")
    close(cell)
    assert labels(cell) == [(1, "success")]


@pytest.mark.parametrize("closed", [False, True])
def test_a_label_a_moment_late_counts_while_the_arm_goes_back(cell: Cell, closed: bool) -> None:
    cell.start_episode()
    cell.session.end_episode("timeout", "time limit")
    if closed:
        close(cell)
    answer = cell.label(1, "success", "e1")
    assert (answer["state"], answer["stored"]) == ("HOMING", closed)
    assert cell.label(1, "success", "e1") == answer
    with pytest.raises(IllegalTransition, match="no label is awaited"):
        cell.label(1, "failure", "e2")
    if not closed:
        close(cell)
    assert labels(cell) == [(1, "success")]
    assert cell.session.now.why == "labelled success by ana"
    cell.session.homed()
    assert state(cell) is State.AWAIT_RESET, "it is not asked for again"


@pytest.mark.parametrize("homing", [False, True])
def test_after_an_undo_the_present_episode_is_asked_for_its_label_again(cell: Cell, homing: bool) -> None:
    if homing:
        cell.start_episode()
        cell.label(1, "failure", "e1")
        close(cell)
        cell.press("undo", episode=1)
        assert state(cell) is State.HOMING
        cell.session.homed()
    else:
        to_label(cell)
        cell.label(1, "failure", "e1")
        assert state(cell) is State.AWAIT_RESET
        cell.press("undo", episode=1)
    cell.session.follow_labels()  # of the undo itself, which is in the log now
    assert state(cell) is State.AWAIT_LABEL
    assert cell.session.now.why == "label taken back by ana"
    cell.label(1, "success", "e2")
    assert state(cell) is State.AWAIT_RESET
    assert labels(cell) == [(1, "failure"), (1, "discard"), (1, "success")]


def test_undone_twice_a_label_stands_again(cell: Cell) -> None:
    to_label(cell)
    cell.label(1, "failure", "e1")
    cell.press("undo", episode=1)
    cell.press("undo", episode=1)
    assert (state(cell), labels(cell)[-1]) == (State.AWAIT_RESET, (1, "failure"))
    assert cell.session.now.why == "labelled failure again by ana"


def test_a_discard_that_was_taken_back_stands_again_when_that_is_undone(cell: Cell) -> None:
    to_label(cell)
    cell.label(1, "discard", "e1")
    cell.press("undo", episode=1)
    assert state(cell) is State.AWAIT_LABEL
    cell.press("undo", episode=1)
    assert (state(cell), labels(cell)) == (State.AWAIT_RESET, 3 * [(1, "discard")])
    assert cell.session.now.why == "labelled discard again by ana"
    cell.press("undo", episode=1)
    assert state(cell) is State.AWAIT_LABEL


def test_a_discard_that_was_given_is_a_verdict_when_its_correction_is_undone(cell: Cell) -> None:
    to_label(cell)
    revision = cell.label(1, "discard", "e1")["label_revision"]
    cell.label(1, "success", "c1", expected_revision=revision)
    cell.press("undo", episode=1)
    assert (state(cell), cell.session.now.why) == (State.AWAIT_RESET, "labelled discard again by ana")


def test_a_label_is_corrected_while_the_arm_goes_back(cell: Cell) -> None:
    cell.start_episode()
    cell.label(1, "success", "e1")
    assert cell.session.awaiting_label is None
    close(cell)
    revision = cell.book.rows[1].revision
    assert cell.label(1, "failure", "c1", expected_revision=revision)["stored"]
    assert (state(cell), cell.session.awaiting_label) == (State.HOMING, None)
    cell.press("undo", episode=1)
    cell.press("undo", episode=1)
    assert [value for _, value in labels(cell)] == ["success", "failure", "success", "failure"]
    cell.session.homed()
    assert state(cell) is State.AWAIT_RESET


def test_who_is_asked_for_a_label_that_was_taken_back_is_told_so_whatever_the_state(cell: Cell) -> None:
    cell.start_episode()
    cell.label(1, "success", "e1")
    close(cell)
    cell.press("undo", episode=1)
    assert (state(cell), cell.session.awaiting_label) == (State.HOMING, 1)
    cell.session.observe(cell.guard.stop("ana", "wait"))
    assert (state(cell), cell.session.awaiting_label) == (State.STOPPED, 1)


def test_a_first_label_is_taken_back_only_while_its_episode_would_be_asked_for_again(cell: Cell) -> None:
    to_label(cell)
    revision = cell.label(1, "failure", "e1")["label_revision"]
    cell.press("reset_done")
    for _ in range(2):  # before the next episode, and in it: the next 1 or 0 would be that one's
        with pytest.raises(
            IllegalTransition, match="nobody would be asked for another label of 1: correct it in the list"
        ):
            cell.press("undo", episode=1)
        cell.session.begin_episode()
    cell.label(1, "success", "c1", expected_revision=revision)
    cell.press("undo", episode=1)
    cell.press("undo", episode=1)
    assert [value for _, value in labels(cell)] == ["failure", "success", "failure", "success"]


def test_a_correction_of_the_present_episode_is_said(cell: Cell) -> None:
    to_label(cell)
    revision = cell.label(1, "failure", "e1")["label_revision"]
    cell.label(1, "success", "c1", expected_revision=revision)
    assert cell.session.now.why == "labelled success by ana"
    cell.session.observe(cell.guard.stop("ana", "wait"))
    cell.label(1, "failure", "c2", expected_revision=revision + 1)
    assert "wait" in cell.session.now.why, "a stop keeps its reason"


def test_a_label_of_an_episode_that_was_cut_off_does_not_count() -> None:
    cell = Cell(planned=1)
    cell.start_episode()
    cell.session.end_episode("fault", "three rejected")
    close(cell, complete=False)
    cell.session.homed()
    cell.label(1, "success", "e1", expected_revision=0)
    assert state(cell) is State.AWAIT_RESET
    with pytest.raises(IllegalTransition, match="nobody would be asked"):
        cell.press("undo", episode=1)
    assert state(cell) is State.AWAIT_RESET
    cell.press("reset_done")
    cell.book.rows[1].complete = False
    cell.session.follow_labels()
    assert state(cell) is State.RUNNING, "its label is not the one that was planned"


def test_a_label_that_the_store_refuses_is_asked_for_again(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    cell.start_episode()
    cell.label(1, "success", "e1")
    cell.book.close_episode(1)
    with monkeypatch.context() as broken:

        def full(*args: object) -> None:
            raise StoreError("disk full")

        broken.setattr(cell.book, "add_label", full)
        cell.session.close_episode(True)
    cell.session.homed()
    assert state(cell) is State.AWAIT_LABEL
    assert "disk full" in cell.session.now.why
    cell.label(1, "success", "e1")
    assert labels(cell) == [(1, "success")]


def test_a_late_key_cannot_label_the_next_episode(cell: Cell) -> None:
    """The page names the episode it showed; its key comes when the next one runs already."""
    to_label(cell)
    cell.label(1, "failure", "e1")
    cell.press("reset_done")
    assert cell.session.begin_episode()
    for episode in (1, 3, 0):
        with pytest.raises(IllegalTransition, match="RUNNING"):
            cell.label(episode, "success", f"late{episode}")
    assert state(cell) is State.RUNNING
    assert labels(cell) == [(1, "failure")]


@pytest.mark.parametrize("episode", [0, 2, 3])
def test_only_the_awaited_episode_is_labelled(cell: Cell, episode: int) -> None:
    to_label(cell)
    with pytest.raises(IllegalTransition):
        cell.label(episode, "success", "x")
    assert (labels(cell), cell.session.state) == ([], State.AWAIT_LABEL)


def test_no_label_before_the_episode_has_begun(cell: Cell) -> None:
    cell.press("arm")
    cell.press("run")
    with pytest.raises(IllegalTransition, match="no label is awaited"):
        cell.label(1, "success", "e1")
    with pytest.raises(IllegalTransition, match="no episode runs"):
        cell.press("end")


def test_the_same_label_from_many_threads_at_once_is_one_event(cell: Cell) -> None:
    to_label(cell)
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(20)

    def press() -> None:
        barrier.wait(60)
        answers.append(cell.label(1, "success", "e1"))

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 20
    assert all(answer == answers[0] for answer in answers)
    assert labels(cell) == [(1, "success")]
    with pytest.raises(LabelConflict):
        cell.label(1, "failure", "e1")


def test_corrections_at_any_time_with_the_revision_they_correct(cell: Cell) -> None:
    to_label(cell)
    revision = cell.label(1, "failure", "e1")["label_revision"]
    cell.press("reset_done")
    assert cell.session.begin_episode()
    with pytest.raises(LabelConflict, match="revision"):
        cell.label(1, "success", "c0", expected_revision=revision + 5)
    answer = cell.label(1, "success", "c1", expected_revision=revision)
    assert (answer["state"], answer["stored"]) == ("RUNNING", True)
    assert cell.label(1, "success", "c1", expected_revision=revision) == answer, "idempotent"
    assert labels(cell) == [(1, "failure"), (1, "success")]
    cell.press("undo", episode=1)
    assert labels(cell)[-1] == (1, "failure")
    with pytest.raises(IllegalTransition, match="no label"):
        cell.press("undo", episode=2)


def test_correcting_the_last_label_to_discard_leaves_the_run_finished() -> None:
    cell = Cell(planned=1)
    to_label(cell)
    revision = cell.label(1, "success", "e1")["label_revision"]
    assert state(cell) is State.FINISHED
    cell.label(1, "discard", "c1", expected_revision=revision)
    assert state(cell) is State.FINISHED


@pytest.mark.parametrize("phase", ["ready", "episode", "homing", "label", "reset"])
def test_a_stop_latches_and_clearing_lands_in_paused(cell: Cell, phase: str) -> None:
    if phase in ("label", "reset"):
        to_label(cell)
    elif phase == "ready":
        cell.press("arm")
        cell.press("run")
    else:
        cell.start_episode()
    if phase == "homing":
        cell.press("end")
        close(cell)
    if phase == "reset":
        cell.label(1, "success", "e1")
    before = cell.session.state
    cell.press("stop")
    assert state(cell) is State.STOPPED
    for name in ("arm", "run", "pause", "end", "reset_done"):
        with pytest.raises(IllegalTransition, match="clear the cause first"):
            cell.press(name)
    stale = cell.causes()[0]
    cell.press("stop")
    with pytest.raises(IllegalTransition):
        cell.press("clear", cause_id=stale)
    assert state(cell) is State.STOPPED
    cell.press("clear", cause_id=cell.causes()[0])
    assert state(cell) is State.PAUSED
    cell.press("run")
    assert state(cell) is (State.HOMING if phase == "episode" else before)
    assert cell.session.now.asks == (phase not in ("episode", "reset")), "only a stopped episode is not labelled"


def test_two_causes_are_both_to_be_cleared(cell: Cell) -> None:
    cell.start_episode()
    cell.robot.fault = RuntimeError("cable")
    cell.motion.hold()
    cell.press("stop")
    assert state(cell) is State.FAULT
    fault, stop = cell.causes()
    cell.robot.fault = None
    cell.press("clear", cause_id=fault)
    assert state(cell) is State.STOPPED
    cell.press("clear", cause_id=stop)
    assert state(cell) is State.PAUSED


def test_what_is_latched_at_the_start_shows_at_once(cell: Cell) -> None:
    cell.guard.stop("ana", "before the restart")
    session = Session(cell.guard, cell.book, cell.guard.safety, first=1, planned=3)
    assert session.state is State.STOPPED
    assert "before the restart" in session.now.why


def test_older_words_of_the_guard_change_nothing(cell: Cell) -> None:
    cell.start_episode()
    earlier = cell.guard.safety
    cell.press("stop")
    latched = cell.guard.safety
    cell.session.observe(earlier)
    assert state(cell) is State.STOPPED
    cell.press("clear", cause_id=cell.causes()[0])
    cell.press("run")
    cell.session.observe(latched)
    assert state(cell) is State.HOMING


def test_a_hold_of_the_guard_is_no_stop(cell: Cell) -> None:
    cell.start_episode()
    cell.renew = False
    cell.motion.begin()
    for _ in range(12):
        cell.motion.hold()
    assert cell.guard.safety.level.name == "HOLD"
    assert (cell.session.state, cell.session.in_episode) == (State.RUNNING, True)


def test_a_run_goes_on_where_its_labels_end() -> None:
    book = MemoryBook()
    for episode, value in ((1, "success"), (2, "discard"), (3, "failure")):
        book.close_episode(episode)
        book.rows[episode].label = LabelValue(value)
    assert Cell(book, planned=3, first=4).session.state is State.DISARMED
    done = Cell(book, planned=2, first=4).session
    assert (done.state, done.episode) == (State.FINISHED, 3)


def test_refusals_name_the_state_the_reason_and_what_is_legal(cell: Cell) -> None:
    with pytest.raises(IllegalTransition, match=r"run is not legal in DISARMED: arm first; legal now: arm, stop"):
        cell.press("run")


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("rnu", {}, "did you mean 'run'"),
        ("label", {"episode": 1, "value": "succes", "event_id": "e"}, "did you mean 'success'"),
        ("label", {"episode": "1", "value": "success", "event_id": "e"}, "'episode': expected an integer"),
        ("label", {"episode": True, "value": "success", "event_id": "e"}, "'episode': expected an integer"),
        ("label", {"episode": 1, "value": "success"}, "'event_id': expected a text"),
        ("undo", {}, "'episode': expected an integer"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_nearest(
    cell: Cell, name: str, args: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        cell.press(name, **args)


def test_every_command_is_audited_with_the_state_before_and_after(cell: Cell) -> None:
    cell.start_episode()
    cell.label(1, "success", "e1")
    cell.press("stop")
    trail = [(kind, author, d["before"], d["after"]) for kind, author, d in cell.book.audit]
    assert trail == [
        ("command.arm", "ana", "DISARMED", "PAUSED"),
        ("command.run", "ana", "PAUSED", "RUNNING"),
        ("command.label", "ana", "RUNNING", "HOMING"),
        ("command.stop", "ana", "HOMING", "STOPPED"),
    ]
    assert cell.book.audit[2][2]["args"]["event_id"] == "e1"


# --- a disk that refuses --------------------------------------------------------------------------------------------


def test_an_episode_that_cannot_be_recorded_is_lost_with_its_label_and_all_is_paused(
    cell: Cell, caplog: pytest.LogCaptureFixture
) -> None:
    cell.start_episode()
    assert cell.label(1, "success", "a")["stored"] is False
    for _ in range(2):
        cell.session.disk_refused("No space left on device")
    assert (state(cell), cell.session.now.why) == (State.PAUSED, "No space left on device")
    assert cell.session.now.ended_by == "aborted"
    assert cell.session.disk == "No space left on device"
    assert caplog.text.count("paused, the disk refuses") == 1
    cell.press("run")
    assert cell.session.disk is None
    assert state(cell) is State.HOMING
    cell.session.homed()
    assert state(cell) is State.AWAIT_RESET, "no label is asked for"
    assert labels(cell) == []
    cell.press("reset_done")
    assert cell.session.episode == 2


def test_a_closed_episode_keeps_waiting_for_its_label(cell: Cell) -> None:
    to_label(cell)
    cell.session.disk_refused("No space left on device")
    assert state(cell) is State.PAUSED
    cell.press("run")
    assert state(cell) is State.AWAIT_LABEL
    cell.label(1, "success", "a")
    assert labels(cell) == [(1, "success")]


def test_the_disk_neither_arms_nor_clears_a_stop(cell: Cell) -> None:
    cell.session.disk_refused("full")
    assert (state(cell), cell.session.now.why) == (State.DISARMED, "full")
    cell.start_episode()
    cell.press("stop")
    cell.session.disk_refused("full")
    assert state(cell) is State.STOPPED
    assert "operator_stop" in cell.session.now.why
