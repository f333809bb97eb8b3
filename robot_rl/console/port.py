"""What the console asks of whoever runs the robot: one protocol, so that the page is the same in every composition."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

LISTS = ("episodes", "curve")
"""What of a snapshot grows with the run, and changes with an episode or a label; `lists` names the present ones."""


class Frame(NamedTuple):
    """The newest picture of a camera."""

    seq: int
    """Differs from the previous one when the picture is new."""
    age_ms: float
    """Milliseconds since it was taken, when it was asked for."""
    jpeg: bytes


@runtime_checkable
class OperatorPort(Protocol):
    """The actor, the guard and the cameras as an operator's page sees them.

    Called from several threads at once. Every method but `frame` may block for as long as its own deadline; a `stop`
    never waits behind another call.
    """

    def snapshot(self) -> dict[str, Any]:
        """The whole state that the page shows, JSON-able; `web/types.d.ts` names every field.

        Raises `DeadlineMissed` when the actor does not answer.
        """
        ...

    def command(self, name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        """Carry out one of `robot_rl.console.commands.ARGUMENTS` for the session.

        Raises `IllegalTransition` (the state does not allow it) or `LabelConflict` (contradicts an earlier label).
        """
        ...

    def stop(self, author: str) -> dict[str, Any]:
        """Stop the robot, straight at the guard; its safety state `{level, epoch, causes}`, once that is latched."""
        ...

    def renew(self) -> None:
        """Tell the guard that the operator's page is alive."""
        ...

    def frame(self, camera: str) -> Frame | None:
        """The newest picture of `camera`, or None if there is none; returns at once."""
        ...
