"""The session under random sequences: operators, control loop, guard and late messages in any order."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from robot_rl.control.progress import COMMANDS, Gate, Phase, Progress, State
from robot_rl.errors import IllegalTransition, StoreError
from robot_rl.types import LabelValue
from tests.control.cell import Cell

STOPS = {State.STOPPED, State.FAULT}
AFTER = {
    State.DISARMED: {State.PAUSED},
    State.PAUSED: {State.RUNNING, State.HOMING, State.AWAIT_LABEL, State.AWAIT_RESET, State.FINISHED},
    State.RUNNING: {State.PAUSED, State.HOMING, State.FINISHED},
    State.HOMING: {State.PAUSED, State.AWAIT_LABEL, State.AWAIT_RESET, State.FINISHED},
    State.AWAIT_LABEL: {State.PAUSED, State.AWAIT_RESET, State.FINISHED},
    State.AWAIT_RESET: {State.PAUSED, State.RUNNING, State.AWAIT_LABEL},
    State.STOPPED: {State.PAUSED},
    State.FAULT: {State.PAUSED},
    State.FINISHED: {State.PAUSED},
}
"""State -> what may follow it, beside STOPPED and FAULT. PAUSED from anywhere: stopped and cleared in one go."""
NEXT_PHASE = {
    Phase.READY: {Phase.EPISODE, Phase.FINISHED},
    Phase.EPISODE: {Phase.HOMING},
    Phase.HOMING: {Phase.LABEL, Phase.RESET, Phase.FINISHED},
    Phase.LABEL: {Phase.RESET, Phase.FINISHED},
    Phase.RESET: {Phase.READY, Phase.LABEL},
    Phase.FINISHED: set[Phase](),
}


class Operators(RuleBasedStateMachine):
    """`expected` holds what each label event must have come to: (episode, value), never anything else."""

    @initialize(planned=st.integers(1, 4))
    def begin(self, planned: int) -> None:
        self.cell = Cell(planned=planned)
        self.session = self.cell.session
        self.before: Progress = self.session.now
        self.revision = self.session.revision
        self.serial = 0
        self.closed = False
        self.expected: dict[str, tuple[int, str]] = {}
        self.by_command: str | None = None
        self.words = [self.cell.guard.safety]

    # --- the operator ---

    @rule(name=st.sampled_from(["arm", "run", "pause", "end", "reset_done", "stop"]))
    def press(self, name: str) -> None:
        self.give(name, {})

    @rule(value=st.sampled_from(LabelValue))
    def label_the_present_episode(self, value: LabelValue) -> None:
        self.give("label", self.label(self.session.episode, value))

    @rule(value=st.sampled_from(LabelValue), off=st.sampled_from([-2, -1, 1, 2]))
    def label_another_episode_without_a_revision(self, value: LabelValue, off: int) -> None:
        args = self.label(self.session.episode + off, value)
        assert self.refused("label", args), "a late or a made-up key"

    @rule(value=st.sampled_from(LabelValue), off=st.integers(-3, 1), wrong=st.booleans())
    def correct(self, value: LabelValue, off: int, wrong: bool) -> None:
        episode = self.session.episode + off
        row = self.cell.book.rows.get(episode)
        args = self.label(episode, value)
        args["expected_revision"] = (row.revision if row else 0) + wrong
        present = off == 0 and self.session.allowed()["label"] is None
        refused = self.refused("label", args)
        if not present:
            past = row is not None and (off < 0 or self.before.phase in (Phase.RESET, Phase.FINISHED))
            assert refused == (wrong or not past)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def send_a_label_once_more(self, data: st.DataObject) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.expected)))
        if not any(event.label.event_id == event_id for event in self.cell.book.log):
            return
        episode, value = self.expected[event_id]
        length = len(self.cell.book.log)
        answer = self.session.command("label", {"episode": episode, "value": value, "event_id": event_id}, "ana", 0)
        assert (answer["episode"], answer["value"], answer["stored"]) == (episode, value, True)
        assert len(self.cell.book.log) == length
        other = "failure" if value == "success" else "success"
        assert self.refused("label", {"episode": episode, "value": other, "event_id": event_id})

    @rule(off=st.integers(-2, 0))
    def undo(self, off: int) -> None:
        episode = self.session.episode + off
        row = self.cell.book.rows.get(episode)
        past = off < 0 or (row is not None and not row.complete) or self.session.now.phase is Phase.FINISHED
        nothing = row is None or row.label is None or (past and not row.corrected)
        assert self.refused("undo", {"episode": episode}) == nothing

    @rule(stale=st.booleans())
    def clear(self, stale: bool) -> None:
        causes = [cause.id for cause in self.cell.guard.safety.causes if cause.clears == "operator"]
        legal = self.session.allowed()["clear"] is None and bool(causes) and not stale
        cause = "operator_stop-0" if stale or not causes else causes[0]
        assert self.refused("clear", {"cause_id": cause}) == (not legal)
        if legal:
            assert self.session.state in {State.PAUSED} | STOPS

    # --- the control loop ---

    @rule()
    def begin_episode(self) -> None:
        legal = self.session.state is State.RUNNING and not self.session.in_episode
        assert self.session.begin_episode() == legal
        self.closed &= not legal

    @rule(by=st.sampled_from(["timeout", "fault"]))
    def end_episode(self, by: Any) -> None:
        self.session.end_episode(by, by)

    @precondition(lambda self: self.session.now.phase is Phase.HOMING and not self.closed)
    @rule(whole=st.booleans())
    def close_episode(self, whole: bool) -> None:
        whole &= self.session.now.ended_by not in ("aborted", "fault")
        self.cell.book.close_episode(self.session.episode)
        self.cell.book.rows[self.session.episode].complete = whole
        self.session.close_episode(whole)
        self.closed = True

    @precondition(lambda self: self.closed)
    @rule()
    def homed(self) -> None:
        self.session.homed()

    @rule()
    def look_at_the_guard(self) -> None:
        self.words.append(self.cell.guard.safety)
        self.session.observe(self.words[-1])

    @rule(back=st.integers(1, 4))
    def hear_an_old_word_of_the_guard(self, back: int) -> None:
        if back < len(self.words) and self.words[-1] == self.cell.guard.safety:
            self.session.observe(self.words[-1 - back])

    # --- around them ---

    @rule()
    def stop_at_the_guard(self) -> None:
        self.cell.guard.stop("ben", "from another page")

    @rule()
    def clear_at_the_guard(self) -> None:
        for cause in self.cell.guard.safety.causes:
            if cause.clears == "operator":
                self.cell.guard.clear(cause.id, "ben")

    @rule()
    def break_the_robot(self) -> None:
        self.cell.robot.fault = RuntimeError("reflex")
        self.cell.guard.tick_hold()
        self.cell.robot.fault = None

    # --- what always holds ---

    @invariant()
    def states_follow_each_other_as_they_may(self) -> None:
        before, now = self.before, self.session.now
        assert now.state is before.state or now.state in AFTER[before.state] | STOPS
        assert now.phase is before.phase or now.phase in NEXT_PHASE[before.phase]
        if now.gate is Gate.OPEN and before.gate is not Gate.OPEN:
            assert (self.by_command, before.gate) == ("run", Gate.PAUSED), "nothing but `run` opens the gate"
        if (now.phase, before.phase) == (Phase.READY, Phase.RESET):
            assert (self.by_command, now.episode) == ("reset_done", before.episode + 1)
        else:
            assert now.episode == before.episode
        self.before, self.by_command = now, None

    @invariant()
    def revision_rises_with_every_change(self) -> None:
        assert self.session.revision >= self.revision
        self.revision = self.session.revision

    @invariant()
    def every_label_is_where_it_was_meant_and_only_there(self) -> None:
        stored = {event.label.event_id: event.label for event in self.cell.book.log}
        assert len(stored) == len(self.cell.book.log)
        for event_id, label in stored.items():
            if event_id in self.expected:
                assert (label.episode, label.value.value) == self.expected[event_id]
            else:
                assert len(event_id) == 32, "an undo"

    @invariant()
    def no_accepted_label_is_lost(self) -> None:
        stored = {event.label.event_id for event in self.cell.book.log}
        now = self.session.now
        waiting = {now.pressed.event_id} if now.pressed else set()
        assert set(self.expected) == stored & set(self.expected) | waiting
        assert not waiting or now.phase is Phase.HOMING

    @invariant()
    def a_complete_episode_is_left_only_with_a_label(self) -> None:
        now = self.session.now
        left = now.phase in (Phase.RESET, Phase.FINISHED, Phase.READY)
        for row in self.cell.book.episodes():
            if row.complete and (row.episode < now.episode or left):
                assert row.label is not None

    @invariant()
    def allowed_agrees_with_refusal(self) -> None:
        allowed = self.session.allowed()
        assert set(allowed) == set(COMMANDS)
        assert allowed["stop"] is None
        assert all(why is None or why for why in allowed.values())

    # --- helpers ---

    def label(self, episode: int, value: LabelValue) -> dict[str, Any]:
        self.serial += 1
        return {"episode": episode, "value": value.value, "event_id": f"e{self.serial}"}

    def give(self, name: str, args: dict[str, Any]) -> None:
        """`allowed` said beforehand whether the command would be refused, and why."""
        why = self.session.allowed()[name]
        assert self.refused(name, args, why) == (why is not None)

    def refused(self, name: str, args: dict[str, Any], why: str | None = None) -> bool:
        """A refused command has changed nothing and says what is legal."""
        before, log = (self.session.now, self.session.revision), len(self.cell.book.log)
        words = None
        try:
            self.session.command(name, args, "ana", 0)
        except (IllegalTransition, StoreError) as error:
            words = str(error)
        if words is not None:
            assert (self.session.now, self.session.revision) == before
            assert len(self.cell.book.log) == log
            assert (why or "") in words
            return True
        self.by_command = name
        if name == "label":
            self.expected[args["event_id"]] = (args["episode"], args["value"])
        return False


TestOperators = Operators.TestCase
TestOperators.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
