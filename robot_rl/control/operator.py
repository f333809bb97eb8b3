"""The operator of a twin: where a person is missing, it arms, runs, labels and resets by the same commands."""

from __future__ import annotations

from robot_rl.clock import Clock
from robot_rl.control.ports import GuardControls, LabelBook, Truth, Twin
from robot_rl.control.progress import State
from robot_rl.control.session import Session
from robot_rl.errors import SpecMismatch
from robot_rl.types import LabelValue

AUTHOR = "auto"


class AutoOperator:
    """Works a `session` whenever it is polled; only a twin accepts it.

    It judges by what it saw last while the episode ran, as a person would. It arms and runs once: after a pause, a stop
    or a fault it waits for a person. Raises `SpecMismatch` for a robot that is no twin.
    """

    def __init__(self, session: Session, guard: GuardControls, labels: LabelBook, twin: Twin, clock: Clock) -> None:
        if not getattr(twin, "is_twin", False):
            raise SpecMismatch("an automatic operator moves robots without a person: expected a twin, got none")
        self._session, self._guard, self._labels, self._twin, self._clock = session, guard, labels, twin, clock
        self._seen: Truth | None = None
        self._armed = False

    def poll(self) -> None:
        """Do what is due; to be called between any two control steps."""
        self._guard.renew_operator()
        now = self._session.now
        if self._session.in_episode:
            self._watch(now.episode)
        elif now.state is State.DISARMED:
            self._label_leftovers()
            self._command("arm")
            self._armed = True
        elif now.state is State.PAUSED and self._armed:
            self._command("run")
        elif now.state is State.AWAIT_LABEL:
            success = self._seen is not None and self._seen.success
            self._label(now.episode, LabelValue.SUCCESS if success else LabelValue.FAILURE)
        elif now.state is State.AWAIT_RESET:
            self._command("reset_done")
        if now.state is not State.DISARMED:
            self._armed = False

    def _watch(self, episode: int) -> None:
        """Press 1 when it is done and 0 when it cannot be done any more."""
        self._seen = self._twin.truth()
        if self._seen.success or self._seen.failed:
            self._label(episode, LabelValue.SUCCESS if self._seen.success else LabelValue.FAILURE)

    def _label_leftovers(self) -> None:
        """Episodes that were closed when the process before this one was killed, but not labelled.

        It ends successes at once: what ended otherwise was none.
        """
        for row in self._labels.episodes():
            if row.complete and row.label is None:
                success = row.ended_by == "success"
                self._label(row.episode, LabelValue.SUCCESS if success else LabelValue.FAILURE, expected_revision=0)

    def _label(self, episode: int, value: LabelValue, expected_revision: int | None = None) -> None:
        args = {"episode": episode, "value": value.value, "event_id": f"{AUTHOR}-{episode}"}
        self._command("label", args | {"expected_revision": expected_revision})

    def _command(self, name: str, args: dict[str, object] | None = None) -> None:
        self._session.command(name, args or {}, AUTHOR, self._clock.now_ns())
