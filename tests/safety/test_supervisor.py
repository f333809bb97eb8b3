from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.clock import MS
from robot_rl.config import GuardConfig
from robot_rl.errors import IllegalTransition
from robot_rl.safety import supervisor
from robot_rl.safety.supervisor import RULES, Supervision, activated, cleared, judged, obeyed, raised, reported, watched
from robot_rl.types import Command, SafetyLevel, SafetyState

CONFIG = GuardConfig(operator_ms=500, observation_ms=200, command_ms=150)
NOW = 10_000 * MS
RUNNING = Supervision(active=True, operator_ns=NOW, command_ns=NOW, observation_ns=NOW)
LATCHED = [kind for kind, rule in RULES.items() if rule.level >= SafetyLevel.STOP]
HOLDS = [kind for kind, rule in RULES.items() if rule.level == SafetyLevel.HOLD]


def kinds(state: Supervision) -> list[str]:
    return [cause.kind for cause in reported(state).causes]


def command(epoch: int = 1, deadline_ns: int = NOW) -> Command:
    return Command(np.zeros(4), deadline_ns, epoch, chunk_id=0, index=0)


def test_a_fresh_state_is_ok() -> None:
    assert reported(Supervision()) == SafetyState(SafetyLevel.OK, 1, ())


def test_exactly_what_an_operator_clears_is_latched() -> None:
    assert {kind for kind, rule in RULES.items() if rule.clears == "operator"} == set(LATCHED)
    assert set(HOLDS) | set(LATCHED) == set(RULES)


@pytest.mark.parametrize("kind", LATCHED)
def test_stop_and_fault_raise_the_epoch_and_end_activity(kind: str) -> None:
    state = raised(raised(RUNNING, "bad_action", "", NOW), kind, "why", NOW)
    assert state.epoch == 2
    assert not state.active
    assert kinds(state) == [kind]
    assert reported(state).level == RULES[kind].level
    cause = state.causes[0]
    assert (cause.detail, cause.clears, cause.stamp_ns) == ("why", "operator", NOW)


@pytest.mark.parametrize("kind", HOLDS)
def test_a_hold_keeps_the_epoch_and_its_first_cause(kind: str) -> None:
    state = raised(RUNNING, kind, "first", NOW)
    assert state.epoch == 1
    assert state.active
    assert raised(state, kind, "second", NOW + 1) == state
    assert reported(state).level is SafetyLevel.HOLD


def test_the_most_severe_cause_decides_and_comes_first() -> None:
    state = Supervision()
    for kind in ("operator_stop", "robot_fault", "not_active"):
        state = raised(state, kind, "", NOW)
    assert reported(state).level is SafetyLevel.FAULT
    assert kinds(state) == ["robot_fault", "operator_stop", "not_active"]


def test_every_cause_has_an_id_of_its_own() -> None:
    state = Supervision()
    seen = set()
    for kind in [*RULES, *LATCHED]:
        state = raised(state, kind, "", NOW)
        seen |= {cause.id for cause in state.causes}
    assert len(seen) == len(RULES) + len(LATCHED)


def test_a_hold_that_comes_again_is_another_cause() -> None:
    first = raised(RUNNING, "bad_action", "", NOW)
    second = raised(obeyed(first, NOW), "bad_action", "", NOW)
    assert second.causes[0].id != first.causes[0].id


def test_clearing_names_the_cause() -> None:
    state = raised(RUNNING, "operator_stop", "", NOW)
    with pytest.raises(IllegalTransition, match=state.causes[0].id):
        cleared(state, "operator_stop-99")
    after = cleared(state, state.causes[0].id)
    assert reported(after).level is SafetyLevel.OK
    assert after.epoch == 2
    assert not after.active
    with pytest.raises(IllegalTransition, match="latched now: nothing"):
        cleared(after, state.causes[0].id)


def test_clearing_a_stop_that_was_pressed_again_is_refused() -> None:
    first = raised(RUNNING, "operator_stop", "", NOW)
    second = raised(first, "operator_stop", "", NOW)
    assert second.epoch == 3
    assert kinds(second) == ["operator_stop"]
    with pytest.raises(IllegalTransition):
        cleared(second, first.causes[0].id)


def test_clearing_one_cause_leaves_the_other() -> None:
    state = raised(raised(RUNNING, "operator_stop", "", NOW), "robot_fault", "", NOW)
    stop = next(cause for cause in state.causes if cause.kind == "operator_stop")
    assert kinds(cleared(state, stop.id)) == ["robot_fault"]


def test_a_hold_cannot_be_cleared_by_hand() -> None:
    state = raised(RUNNING, "bad_action", "", NOW)
    with pytest.raises(IllegalTransition):
        cleared(state, state.causes[0].id)


def test_nothing_begins_while_a_cause_is_latched() -> None:
    state = raised(Supervision(), "operator_stop", "", NOW)
    assert not activated(state, True, NOW).active
    assert kinds(activated(state, True, NOW)) == ["operator_stop"]
    assert activated(cleared(state, state.causes[0].id), True, NOW).active


def test_the_end_of_an_episode_takes_its_holds_along() -> None:
    state = raised(RUNNING, "bad_action", "", NOW)
    assert kinds(activated(state, False, NOW)) == []
    assert activated(state, True, NOW) == state


@pytest.mark.parametrize(
    ("kind", "since"),
    [
        ("operator_silent", lambda ns: replace(RUNNING, operator_ns=NOW - 500 * MS - ns)),
        ("observation_stale", lambda ns: replace(RUNNING, observation_ns=NOW - 200 * MS - ns)),
        ("command_late", lambda ns: replace(RUNNING, command_ns=NOW - 150 * MS - ns)),
    ],
)
def test_each_deadline_is_its_own(kind: str, since: Callable[[int], Supervision]) -> None:
    assert kinds(watched(since(0), CONFIG, NOW)) == []
    late = since(1)
    assert kinds(watched(late, CONFIG, NOW)) == [kind]
    assert watched(replace(late, active=False), CONFIG, NOW).causes == ()


def test_who_never_renewed_is_silent() -> None:
    state = activated(supervisor.observed(Supervision(), NOW), True, NOW)
    assert kinds(watched(state, CONFIG, NOW)) == ["operator_silent"]
    assert kinds(watched(supervisor.renewed(state, NOW), CONFIG, NOW)) == []


def test_watched_causes_go_with_their_condition() -> None:
    late = NOW + 1000 * MS
    state = watched(RUNNING, CONFIG, late)
    assert kinds(state) == ["operator_silent", "observation_stale", "command_late"]
    state = supervisor.renewed(state, late)
    state = watched(state, CONFIG, late)
    assert kinds(state) == ["observation_stale", "command_late"]
    state = watched(supervisor.observed(state, late), CONFIG, late)
    assert kinds(state) == ["command_late"]
    assert kinds(obeyed(state, late)) == []


def test_a_command_is_admitted() -> None:
    state, refusal = judged(RUNNING, command(), CONFIG, NOW)
    assert refusal == ""
    assert obeyed(state, NOW) == RUNNING


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_command_of_another_epoch_is_not(epoch: int) -> None:
    state, refusal = judged(RUNNING, command(epoch=epoch), CONFIG, NOW)
    assert refusal == f"HOLD: command_stale: made under epoch {epoch}, now is 1"
    assert kinds(state) == ["command_stale"]


def test_a_command_past_its_deadline_is_not() -> None:
    assert judged(RUNNING, command(deadline_ns=NOW), CONFIG, NOW)[1] == ""
    state, refusal = judged(RUNNING, command(deadline_ns=NOW - 2 * MS), CONFIG, NOW)
    assert refusal == "HOLD: command_late: 2.0 ms past its deadline"
    assert kinds(state) == ["command_late"]
    assert judged(RUNNING, command(deadline_ns=NOW - 1), CONFIG, NOW)[1]


def test_a_command_while_nothing_runs_is_not() -> None:
    state, refusal = judged(replace(RUNNING, active=False), command(), CONFIG, NOW)
    assert refusal.startswith("HOLD: not_active")
    assert kinds(state) == ["not_active"]


@pytest.mark.parametrize("kind", RULES)
def test_what_a_command_clears_does_not_hold_it_and_all_else_does(kind: str) -> None:
    stopped = replace(raised(RUNNING, kind, "why", NOW), epoch=1, active=True)
    if kind == "operator_silent":
        stopped = replace(stopped, operator_ns=0)
    if kind == "observation_stale":
        stopped = replace(stopped, observation_ns=0)
    state, refusal = judged(stopped, command(), CONFIG, NOW)
    if RULES[kind].clears == "a command that is obeyed":
        assert refusal == ""
        assert obeyed(state, NOW).causes == ()
    else:
        assert refusal.startswith(f"{RULES[kind].level.name}: {kind}: ")
        assert kind in kinds(obeyed(state, NOW))


def test_a_late_command_that_comes_after_all_is_obeyed() -> None:
    """The policy server was away for longer than the deadline, and is back."""
    late = NOW + 160 * MS
    state, refusal = judged(RUNNING, command(deadline_ns=late), CONFIG, late)
    assert refusal == ""
    assert kinds(state) == ["command_late"]
    assert kinds(watched(obeyed(state, late), CONFIG, late)) == []


def test_a_restart_voids_older_commands() -> None:
    assert supervisor.restarted(Supervision(epoch=7)).epoch == 8
