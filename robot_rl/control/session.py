"""What the operator sees and may do: the session's state machine (console.md of the design).

    DISARMED -> PAUSED <-> RUNNING -> HOMING -> AWAIT_LABEL -> AWAIT_RESET -> RUNNING ... FINISHED
    STOPPED and FAULT from anywhere; clearing them leads to PAUSED, never to RUNNING.

It does no input or output: whoever owns it (`robot_rl.actor`) makes a label durable or asks the guard first, and then
tells the session. An episode that a STOP or a fault cut off gets no label: after clearing and `run` the arm retreats,
the object is put back, and a new episode begins.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from robot_rl.errors import IllegalTransition
from robot_rl.types import LabelValue


class State(str, enum.Enum):
    """Of a session."""

    DISARMED = "DISARMED"
    PAUSED = "PAUSED"
    RUNNING = "RUNNING"
    HOMING = "HOMING"
    AWAIT_LABEL = "AWAIT_LABEL"
    AWAIT_RESET = "AWAIT_RESET"
    STOPPED = "STOPPED"
    FAULT = "FAULT"
    FINISHED = "FINISHED"


HALTED = (State.STOPPED, State.FAULT)
MOVING = (State.RUNNING, State.HOMING)

LEGAL: dict[str, tuple[State, ...]] = {
    "arm": (State.DISARMED,),
    "run": (State.PAUSED,),
    "pause": MOVING,
    "end": (State.RUNNING,),
    "label": (State.RUNNING, State.AWAIT_LABEL),
    "reset_done": (State.AWAIT_RESET,),
    "clear": HALTED,
    "undo": tuple(State),
    "stop": tuple(State),
}
"""Command -> states in which it is legal. A label of an earlier episode is a correction, legal always."""

WHY = {
    State.DISARMED: "Nothing moves until you arm.",
    State.PAUSED: "The robot holds its pose.",
    State.RUNNING: "The policy moves the robot.",
    State.HOMING: "The arm retreats.",
    State.AWAIT_LABEL: "Did it succeed?",
    State.AWAIT_RESET: "Put the object back.",
    State.FINISHED: "All episodes are done.",
}


@dataclass
class Session:
    """One operator's run of `episodes_planned` labelled episodes; `episode` is the present or next one's number."""

    episodes_planned: int
    episode: int = 1
    labelled: int = 0
    """Episodes with success or failure so far; those discarded or cut off do not count towards the plan."""
    state: State = State.DISARMED
    why: str = WHY[State.DISARMED]
    revision: int = 0
    """Raised by every change."""
    pending: LabelValue | None = None
    """The label that was given by the press that ended the episode; applied when the arm is home."""
    ending: bool = False
    """The operator asked for the episode's end."""
    recorded: bool = False
    """The present episode is closed in the store and waits for its label."""
    _resume: State = field(default=State.RUNNING, repr=False)
    """Where `run` leads from PAUSED."""

    def allowed(self) -> dict[str, str | None]:
        """Command -> None, or why it is not legal now."""
        return {name: self._objection(name) for name in LEGAL}

    def require(self, name: str) -> None:
        """Raises `IllegalTransition` when command `name` is not legal now, saying what is."""
        objection = self._objection(name)
        if objection is not None:
            legal = ", ".join(command for command, reason in self.allowed().items() if reason is None)
            raise IllegalTransition(f"{name} is {objection}, the session is {self.state.value}; legal now: {legal}")

    def awaits_label_of(self, episode: int) -> bool:
        """Whether a label for `episode` is the present question (else it is a correction of an earlier one)."""
        return episode == self.episode and self.state in LEGAL["label"]

    # --- what the operator does ---

    def arm(self) -> None:
        self.require("arm")
        self._enter(State.FINISHED if self.labelled >= self.episodes_planned else State.PAUSED)

    def run(self) -> None:
        self.require("run")
        self._enter(self._resume)

    def pause(self) -> None:
        self.require("pause")
        self._resume = self.state
        self._enter(State.PAUSED)

    def end(self, value: LabelValue | None = None) -> None:
        """End the running episode, with its label if there is one already."""
        self.require("end")
        self.ending, self.pending = True, value
        self.revision += 1

    def label(self, value: LabelValue) -> None:
        """The awaited label is durable."""
        if self.state is not State.AWAIT_LABEL:
            raise IllegalTransition(f"no label is awaited, the session is {self.state.value}")
        self.recorded, self.pending = False, None
        self.labelled += value is not LabelValue.DISCARD
        self._enter(State.AWAIT_RESET)

    def reset_done(self) -> None:
        self.require("reset_done")
        self.episode += 1
        self._enter(State.FINISHED if self.labelled >= self.episodes_planned else State.RUNNING)

    def clear(self) -> None:
        """The guard has no latched cause any more."""
        self.require("clear")
        self._enter(State.PAUSED)

    # --- what happens ---

    def episode_over(self, why: str, *, complete: bool) -> None:
        """The episode is closed in the store; an incomplete one gets no label."""
        self.ending, self.recorded = False, complete
        if not complete:
            self.pending = None
        if self.state in HALTED:
            self._resume = State.HOMING
            self.revision += 1
        else:
            self._enter(State.HOMING, why)

    def homed(self) -> None:
        """The arm is away from the object."""
        self._enter(State.AWAIT_LABEL if self.recorded else State.AWAIT_RESET)

    def halt(self, state: State, why: str) -> None:
        """The guard has latched a STOP or a FAULT."""
        if self.state in HALTED:
            if (state, why) != (self.state, self.why):
                self._enter(state, why)
            return
        if self.state is State.RUNNING:
            self._resume = State.HOMING
        elif self.state is not State.PAUSED:
            self._resume = State.DISARMED if self.state is State.FINISHED else self.state
        self._enter(state, why)

    def correction(self, before: LabelValue | None, after: LabelValue) -> None:
        """An earlier episode's label was corrected; the plan counts anew."""
        self.labelled += (after is not LabelValue.DISCARD) - (before is not None and before is not LabelValue.DISCARD)
        self.revision += 1

    def _enter(self, state: State, why: str | None = None) -> None:
        self.state = state
        self.why = why if why is not None else WHY[state]
        self.revision += 1

    def _objection(self, name: str) -> str | None:
        if name not in LEGAL:
            return "not a command"
        if self.state in LEGAL[name]:
            return None
        if len(LEGAL[name]) == 1 or name == "clear":
            return f"only in {LEGAL[name][0].value.lower().replace('_', ' ')}"
        return "only in " + " or ".join(state.value.lower().replace("_", " ") for state in LEGAL[name])
