"""The session: what the operator sees of a run, and what may be done to it when.

Where a run stands is two things (`progress`). Its *phase* goes round with every episode:

    READY -> EPISODE -> HOMING -> LABEL -> RESET -> READY ..., and FINISHED after the last

Its *gate* says whether that phase is acted upon: DISARMED, PAUSED, OPEN, STOPPED or FAULT. The operator sees one state:
the gate's name unless it is open, else the phase's. So whatever a stop interrupted goes on where it was, after `clear`
(to PAUSED) and `run`; but an episode that a stop interrupted is over, and the arm retreats first.

Commands may come from any thread. The control loop reads between two control steps where things stand, and reports
here what it did; each method checks the phase again, for the operator may have been faster.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from robot_rl.control.arguments import integer, parsed_label, pressed, stored, text
from robot_rl.control.labelled import Labelled
from robot_rl.control.ports import EndedBy, GuardControls, LabelBook, LabelEvent
from robot_rl.control.progress import COMMANDS, ENDED_BY_LABEL, LATCHED, Gate, Phase, Progress, State, spoken
from robot_rl.errors import ConfigError, IllegalTransition, LabelConflict, StoreError, nearest
from robot_rl.types import Label, LabelValue, SafetyLevel, SafetyState

log = logging.getLogger(__name__)


class Session:
    """The operator's state machine, from episode number `first` on, until `planned` are labelled success or failure.

    What was discarded or cut off does not count, whatever its label; with `cut_off_counts` what was cut off does, where
    nothing is learnt and every trial stands (an evaluation). `safety` is the guard's word at the start: what is latched
    there shows at once. Every change raises `revision`.
    """

    def __init__(
        self, guard: GuardControls, labels: LabelBook, safety: SafetyState, *, first: int, planned: int,
        cut_off_counts: bool = False,
    ) -> None:  # fmt: skip
        self.planned = planned
        self._guard, self._labels = guard, labels
        self._lock = threading.RLock()
        self._epoch = safety.epoch
        self._cleared: set[str] = set()  # ids of the causes cleared here
        self._labelled = Labelled(labels, cut_off_counts=cut_off_counts)
        self._taken_back: int | None = None  # revision of the newest undo after which a label is asked for again
        self._disk: str | None = None
        self._recording = False  # the present episode has begun and is not in the store yet
        self._revision = self._listed = 1
        if self._full():
            self._now = Progress(Gate.OPEN, Phase.FINISHED, first - 1, "all planned episodes are done")
        else:
            self._now = Progress(Gate.DISARMED, Phase.READY, first, "not armed yet")
        self.observe(safety)

    # --- to be read from any thread, without waiting ----------------------------------------------------------------

    @property
    def now(self) -> Progress:
        """Everything at once, consistent."""
        return self._now

    @property
    def state(self) -> State:
        return self._now.state

    @property
    def episode(self) -> int:
        return self._now.episode

    @property
    def awaiting_label(self) -> int | None:
        """The episode that is closed and waits for its label, whatever else holds the run up."""
        now = self._now
        return now.episode if now.asks and now.phase in (Phase.HOMING, Phase.LABEL) and not self._recording else None

    @property
    def in_episode(self) -> bool:
        """The present episode has begun and is not over; it may be paused."""
        return self._now.phase is Phase.EPISODE

    @property
    def paused(self) -> bool:
        """The robot is to hold, whatever the phase."""
        return self._now.gate is not Gate.OPEN

    @property
    def disk(self) -> str | None:
        """Why the disk, and nothing since, has paused the run."""
        return self._disk

    @property
    def revision(self) -> int:
        """Rises with every change."""
        return self._revision

    @property
    def listed(self) -> int:
        """Rises when the list of episodes and labels has changed."""
        return self._listed

    def counts(self, episode: int) -> bool:
        """It is labelled success or failure, and one of those that are planned."""
        return self._labelled.counts(episode)

    def allowed(self) -> dict[str, str | None]:
        """Command -> None if it is legal now, else why not; `label` is about the present episode."""
        now = self._now
        undo = None if self._labelled.values else "no label yet"
        return {name: undo if name == "undo" else now.refusal(name) for name in COMMANDS}

    # --- the operator -----------------------------------------------------------------------------------------------

    def command(self, name: str, args: Mapping[str, Any], author: str, now_ns: int) -> dict[str, Any]:
        """Carry out an operator's command, at `now_ns`; what it came to, for the acknowledgement.

        Raises `IllegalTransition` (the state, why not, what is legal), `LabelConflict`, `ConfigError` for a name or
        arguments that do not exist, and whatever guard and store raise; then nothing has changed. Only the audit
        entry is written last: a `StoreError` from there leaves the command done.
        """
        if name not in COMMANDS:
            raise ConfigError(f"no command {name[:64]!r}{nearest(name[:64], COMMANDS)}")
        before = self.state
        if name == "stop":  # without the lock: nothing may be ahead of it
            self.observe(self._guard.stop(author, str(args.get("reason", "STOP by the operator"))))
            answer: dict[str, Any] = {}
        else:
            with self._lock:
                before = self.state
                answer = self._handlers()[name](args, author)
        after = self.state
        detail = {"args": dict(args), "before": before.value, "after": after.value, "stamp_ns": now_ns}
        self._labels.record(f"command.{name}", author, detail)
        return {"state": after.value, **answer}

    def _handlers(self) -> dict[str, Callable[[Mapping[str, Any], str], dict[str, Any]]]:
        return {
            "arm": lambda args, author: self._turn("arm", Gate.PAUSED, f"armed by {spoken(author)}"),
            "run": lambda args, author: self._turn("run", Gate.OPEN, f"run by {spoken(author)}"),
            "pause": lambda args, author: self._turn("pause", Gate.PAUSED, f"paused by {spoken(author)}"),
            "end": lambda args, author: self._end(author),
            "label": self._label,
            "undo": self._undo,
            "reset_done": lambda args, author: self._next_episode(author),
            "clear": self._clear,
            "take_over": lambda args, author: self._take_over(author),
        }

    def _turn(self, name: str, gate: Gate, why: str) -> dict[str, Any]:
        self._require(name)
        self._disk = None
        self._set(gate=gate, why=why)
        return {}

    def _take_over(self, author: str) -> dict[str, Any]:
        """Another person is in charge: what moves waits for that one's `run`."""
        if self._now.refusal("pause") is None:
            self._turn("pause", Gate.PAUSED, f"a new {author} is in charge: look first")
        return {}

    def _end(self, author: str) -> dict[str, Any]:
        self._require("end")
        self._over("operator", f"ended by {spoken(author)}")
        return {}

    def _next_episode(self, author: str) -> dict[str, Any]:
        self._require("reset_done")
        self._taken_back = None
        self._now = Progress(Gate.OPEN, Phase.READY, self._now.episode + 1, f"reset done by {spoken(author)}")
        self._revision += 1
        return {}

    def _label(self, args: Mapping[str, Any], author: str) -> dict[str, Any]:
        """The present episode's label, a correction (`expected_revision`), or the same event once more."""
        label, expected = parsed_label(args, author)
        now = self._now
        if now.pressed is not None and now.pressed.event_id == label.event_id:
            if now.pressed != label:
                raise LabelConflict(f"label event {label.event_id!r} was {now.pressed}, got {label}; use a new id")
            return pressed(label)
        if (posted := self._labelled.posted(label)) is not None:
            return stored(posted)
        if label.episode == now.episode and now.refusal("label") is None:
            if now.phase is Phase.EPISODE:
                self._over(ENDED_BY_LABEL[label.value], f"{label.value.value}, seen by {spoken(author)}", pressed=label)
                return pressed(label)
            why = f"labelled {label.value.value} by {spoken(author)}"
            if self._recording:  # it has just ended, and is not in the store yet
                self._set(pressed=label, why=self._open_why(why))
                return pressed(label)
            event = self._took(self._labelled.add(label, expected))
            self._answered(why)
            return stored(event)
        if not self._is_past(label.episode):
            self._refuse("label", now.refusal("label") or f"the present episode is {now.episode}, got {label.episode}")
        if expected is None:
            why = now.refusal("label") or f"the present episode is {now.episode}"
            self._refuse("label", f"{why}, and a correction names the revision that it corrects (expected_revision)")
        event = self._took(self._labelled.add(label, expected))
        if label.episode == now.episode:
            self._answered(f"labelled {label.value.value} by {spoken(author)}")
        return stored(event)

    def _undo(self, args: Mapping[str, Any], author: str) -> dict[str, Any]:
        episode = integer(args, "episode")
        if episode not in self._labelled.values:
            self._refuse("undo", f"episode {episode} has no label")
        now = self._now
        present = episode == now.episode and episode not in self._labelled.cut_off and now.phase is not Phase.FINISHED
        if not present and episode not in self._labelled.corrected:
            self._refuse("undo", f"nobody would be asked for another label of {episode}: correct it in the list")
        redo = now.asks and self._taken_back is not None
        verdict = redo or (self._taken_back is None and episode in self._labelled.corrected)
        event = self._took(self._labelled.undo(episode, author))
        if present:
            self._ask_again(event, author, verdict)
        return stored(event)

    def _ask_again(self, event: LabelEvent, author: str, verdict: bool) -> None:
        """An undo that leaves the present episode without a verdict is asked for one; an undo of that one is it.

        `verdict`: a discard is one that was given, and does not say that there is none.
        """
        value = event.label.value
        if verdict or value is not LabelValue.DISCARD:
            self._answered(f"labelled {value.value} again by {spoken(author)}")
            return
        self._taken_back = event.seq
        phase = Phase.LABEL if self._now.phase is Phase.RESET else self._now.phase
        self._set(phase=phase, asks=True, why=self._open_why(f"label taken back by {spoken(author)}"))

    def _clear(self, args: Mapping[str, Any], author: str) -> dict[str, Any]:
        self._require("clear")
        cause_id = text(args, "cause_id")
        safety = self._guard.clear(cause_id, author)
        self._cleared.add(cause_id)
        self.observe(safety)
        return {}

    # --- the control loop -------------------------------------------------------------------------------------------

    def observe(self, safety: SafetyState) -> None:
        """The guard's word. STOP and FAULT show at once and end an episode; when they are cleared all is PAUSED.

        An epoch that rose is a stop, even if it has been cleared since.
        """
        latched = {cause.id for cause in safety.causes if cause.level >= SafetyLevel.STOP}
        with self._lock:
            if safety.epoch < self._epoch or (latched and latched <= self._cleared):  # older than what is known
                return
            gate, why, stopped = self._now.gate, self._now.why, safety.epoch > self._epoch
            self._epoch = safety.epoch
            if latched:
                gate = Gate.FAULT if safety.level is SafetyLevel.FAULT else Gate.STOPPED
                why = f"{safety.causes[0].kind}: {safety.causes[0].detail}"
            elif gate in LATCHED or (stopped and gate is not Gate.DISARMED):
                gate, why = Gate.PAUSED, "stopped, and cleared since"
            if latched or stopped:
                self._disk = None  # from here on it is a person who says `run`
                self._over("fault" if gate is Gate.FAULT else "aborted", why, asks=False)
            if (gate, why) != (self._now.gate, self._now.why):
                self._set(gate=gate, why=why)

    def explain(self, why: str) -> None:
        """What there is to say while RUNNING; a pause, a stop and their reasons stay."""
        with self._lock:
            if self._now.state is State.RUNNING and why != self._now.why:
                self._set(why=why)

    def begin_episode(self) -> bool:
        """The present episode begins; False if that is not what the operator wants any more."""
        with self._lock:
            if self._now.gate is not Gate.OPEN or self._now.phase is not Phase.READY:
                return False
            self._set(phase=Phase.EPISODE)
            self._recording = True
            return True

    def end_episode(self, by: EndedBy, why: str) -> None:
        """The present episode ended, as seen by the control loop; no effect if it was over already."""
        with self._lock:
            self._over(by, why, asks=by != "fault")

    def close_episode(self, complete: bool) -> None:
        """The present episode is in the store: the label with which it was ended is stored now.

        A label that the store refuses is asked for again.
        """
        with self._lock:
            self._recording = False
            if not complete:
                self._labelled.cut_off.add(self._now.episode)
            label, asks, why = self._now.pressed, complete and self._now.asks, self._now.why
            if label is not None:
                try:
                    self._took(self._labelled.add(label, None))
                    asks = False
                except StoreError as error:
                    asks, why = True, f"the label was not stored, label again: {error}"
            self._set(pressed=None, asks=asks, why=why)
            self._list_changed()

    def disk_refused(self, why: str) -> None:
        """Nothing can be written: all is PAUSED. An episode that is not closed is lost, and the label that ended it."""
        with self._lock:
            if self._disk is None:
                log.error("paused, the disk refuses: %s", why)
            self._disk = why
            if self._recording:
                self._recording = False
                self._set(phase=Phase.HOMING, ended_by="aborted", pressed=None, asks=False)
            if self._now.gate not in LATCHED:
                paused = self._now.gate if self._now.gate is Gate.DISARMED else Gate.PAUSED
                self._set(gate=paused, why=why)

    def follow_labels(self) -> None:
        """Labels were given that did not come through here: take them as the log has them, and ask for no other one.

        Raises what the store raises; then nothing has changed.
        """
        with self._lock:
            rows, now = self._labelled.read(), self._now
            self._list_changed()
            row = next((row for row in rows if row.episode == now.episode and row.revision != self._taken_back), None)
            asked = now.asks and now.phase in (Phase.HOMING, Phase.LABEL)
            if asked and row is not None and row.label is not None:
                self._answered(f"labelled {row.label.value} by {spoken(str(row.author))}")
            self._finish_if_full()

    def homed(self) -> None:
        """The arm is back."""
        with self._lock:
            if self._now.phase is Phase.HOMING and self._now.asks:
                self._set(phase=Phase.LABEL)
            elif self._now.phase is Phase.HOMING:
                self._done(self._now.why)

    # --- inside; the lock is held -----------------------------------------------------------------------------------

    def _set(self, **changes: Any) -> None:
        self._now = replace(self._now, **changes)
        self._revision += 1

    def _over(self, by: EndedBy, why: str, pressed: Label | None = None, asks: bool = True) -> None:
        """The episode is over; if the gate is not open, nothing moves before `run`."""
        if self._now.phase is Phase.EPISODE:
            self._set(phase=Phase.HOMING, ended_by=by, why=why, pressed=pressed, asks=asks)

    def _open_why(self, why: str) -> str:
        """`why`, unless a pause or a stop has its own."""
        return why if self._now.gate is Gate.OPEN else self._now.why

    def _answered(self, why: str) -> None:
        """The present episode has its label: nothing more is wanted of it, once the arm is back."""
        if self._now.phase is Phase.LABEL:
            self._done(why)
        else:
            self._set(asks=False, why=self._open_why(why))

    def _done(self, why: str) -> None:
        """Nothing more is wanted of this episode."""
        self._set(phase=Phase.FINISHED if self._full() else Phase.RESET, asks=False, why=why)

    def _full(self) -> bool:
        """As many episodes as planned are labelled."""
        return self._labelled.counting >= self.planned

    def _took(self, event: LabelEvent) -> LabelEvent:
        """A label is in the log; with the last one that was wanted, no episode begins any more."""
        self._list_changed()
        self._finish_if_full()
        return event

    def _finish_if_full(self) -> None:
        if self._now.phase is Phase.READY and self._full():
            self._set(phase=Phase.FINISHED)

    def _list_changed(self) -> None:
        self._listed += 1
        self._revision += 1

    def _is_past(self, episode: int) -> bool:
        """Closed, and not waiting for its first label."""
        now = self._now
        labelled = now.phase is Phase.HOMING and not now.asks and not self._recording
        present = now.phase in (Phase.RESET, Phase.FINISHED) or (labelled and episode in self._labelled.values)
        return episode < now.episode or (episode == now.episode and present)

    def _require(self, name: str) -> None:
        if (why := self._now.refusal(name)) is not None:
            self._refuse(name, why)

    def _refuse(self, name: str, why: str) -> NoReturn:
        legal = ", ".join(name for name, refusal in self.allowed().items() if refusal is None)
        raise IllegalTransition(f"{name} is not legal in {self.state.value}: {why}; legal now: {legal}")
