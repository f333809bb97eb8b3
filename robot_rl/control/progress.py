"""Where a run stands, and which commands that allows: values and pure functions."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from robot_rl.control.ports import EndedBy
from robot_rl.types import Label, LabelValue


class State(str, enum.Enum):
    """What the operator sees."""

    DISARMED = "DISARMED"
    PAUSED = "PAUSED"
    RUNNING = "RUNNING"
    HOMING = "HOMING"
    AWAIT_LABEL = "AWAIT_LABEL"
    AWAIT_RESET = "AWAIT_RESET"
    STOPPED = "STOPPED"
    FAULT = "FAULT"
    FINISHED = "FINISHED"


class Phase(enum.Enum):
    """Where in its episode a run is; the value is the state it shows as."""

    READY = ("ready", State.RUNNING)
    """The next episode may begin; it waits for its adapter."""
    EPISODE = ("episode", State.RUNNING)
    HOMING = ("homing", State.HOMING)
    LABEL = ("label", State.AWAIT_LABEL)
    RESET = ("reset", State.AWAIT_RESET)
    FINISHED = ("finished", State.FINISHED)


class Gate(enum.Enum):
    """Whether the phase is acted upon; the value is the state it shows as, None for the phase's own."""

    DISARMED = State.DISARMED
    PAUSED = State.PAUSED
    OPEN = None
    STOPPED = State.STOPPED
    FAULT = State.FAULT


LATCHED = (Gate.STOPPED, Gate.FAULT)
COMMANDS = ("arm", "run", "pause", "end", "label", "undo", "reset_done", "clear", "stop", "take_over")
ENDED_BY_LABEL: Mapping[LabelValue, EndedBy] = {
    LabelValue.SUCCESS: "success",
    LabelValue.FAILURE: "failure",
    LabelValue.DISCARD: "operator",
}
PAGE = "page"
"""Author of what was done on the operator's page."""


def spoken(author: str) -> str:
    """`author` in words for a person: on the page it was one, too."""
    return "the operator" if author == PAGE else author


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    gate: Gate
    phase: Phase
    episode: int
    why: str
    ended_by: EndedBy | None = None
    """How the present episode ended, once it has."""
    pressed: Label | None = None
    """The label that it was ended with, or got before it was closed; stored when it is."""
    asks: bool = True
    """A label is wanted: the episode is complete and has none yet."""

    @property
    def state(self) -> State:
        return self.gate.value or self.phase.value[1]

    def refusal(self, name: str) -> str | None:
        """Why the command `name` is not legal now; None if it is. (`undo` depends on the labels as well.)"""
        acting = self.gate is Gate.OPEN
        if name in ("stop", "take_over"):
            return None
        if name == "clear":
            return None if self.gate in LATCHED else "nothing is latched"
        if self.gate in LATCHED:
            return "clear the cause first"
        if name == "arm":
            return None if self.gate is Gate.DISARMED else "armed already"
        if self.gate is Gate.DISARMED:
            return "arm first"
        if name == "run":
            return None if self.gate is Gate.PAUSED else "only while paused"
        if name == "pause":
            moving = acting and self.phase in (Phase.READY, Phase.EPISODE, Phase.HOMING)
            return None if moving else "paused already, Run goes on" if not acting else "nothing moves"
        if name == "end":
            return None if self.phase is Phase.EPISODE else "no episode runs"
        if name == "label":
            if self.phase is Phase.LABEL:
                return None if acting else "click Run first"
            wanted = self.phase is Phase.HOMING and self.asks and self.pressed is None
            return None if wanted or self.phase is Phase.EPISODE else "no label is awaited"
        if self.phase is Phase.LABEL:
            return f"label episode {self.episode} first"
        if self.phase is Phase.RESET:
            return None if acting else "click Run first"
        return "no reset is awaited"
