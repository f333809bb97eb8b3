"""The table of what is legal when, in full: every gate with every phase."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from robot_rl.control.progress import COMMANDS, Gate, Phase, Progress, State
from robot_rl.types import Label, LabelValue

LEGAL = {
    State.DISARMED: {"arm", "stop"},
    State.PAUSED: {"run", "stop"},
    State.RUNNING: {"pause", "stop"},
    State.HOMING: {"label", "pause", "stop"},
    State.AWAIT_LABEL: {"label", "stop"},
    State.AWAIT_RESET: {"reset_done", "stop"},
    State.STOPPED: {"clear", "stop"},
    State.FAULT: {"clear", "stop"},
    State.FINISHED: {"stop"},
}


@pytest.mark.parametrize(("gate", "phase"), list(product(Gate, Phase)))
def test_what_is_legal_and_why_not(gate: Gate, phase: Phase) -> None:
    progress = Progress(gate, phase, 1, "")
    expected = (
        {"take_over"}
        | LEGAL[progress.state]
        | ({"end", "label"} if phase is Phase.EPISODE and gate in (Gate.OPEN, Gate.PAUSED) else set())
        | ({"label"} if phase is Phase.HOMING and gate is Gate.PAUSED else set())
    )
    for name in set(COMMANDS) - {"undo"}:
        refusal = progress.refusal(name)
        assert (refusal is None) == (name in expected), (name, refusal)
        assert refusal is None or refusal


@pytest.mark.parametrize("labelled", [{"asks": False}, {"pressed": Label("e1", 1, LabelValue.SUCCESS, "ana")}])
def test_an_arm_that_goes_back_asks_for_one_label_at_most(labelled: dict[str, Any]) -> None:
    assert Progress(Gate.OPEN, Phase.HOMING, 1, "").refusal("label") is None
    assert Progress(Gate.OPEN, Phase.HOMING, 1, "", **labelled).refusal("label") == "no label is awaited"


@pytest.mark.parametrize(
    ("gate", "phase", "name", "says"),
    [
        (Gate.PAUSED, Phase.EPISODE, "pause", "paused already, Run goes on"),
        (Gate.OPEN, Phase.LABEL, "reset_done", "label episode 7 first"),
        (Gate.PAUSED, Phase.LABEL, "reset_done", "label episode 7 first"),
        (Gate.PAUSED, Phase.RESET, "reset_done", "click Run first"),
        (Gate.OPEN, Phase.EPISODE, "reset_done", "no reset is awaited"),
    ],
)
def test_a_refusal_says_what_to_do_first(gate: Gate, phase: Phase, name: str, says: str) -> None:
    assert Progress(gate, phase, 7, "").refusal(name) == says


def test_the_state_is_the_gate_unless_that_is_open() -> None:
    assert Progress(Gate.PAUSED, Phase.LABEL, 1, "").state is State.PAUSED
    assert {Progress(Gate.OPEN, phase, 1, "").state for phase in Phase} == {
        State.RUNNING,
        State.HOMING,
        State.AWAIT_LABEL,
        State.AWAIT_RESET,
        State.FINISHED,
    }
