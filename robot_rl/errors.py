"""Every error this project raises on purpose.

A message says what was expected, what came, and what to do about it; it never carries a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RobotRLError(Exception):
    """Base of every error raised on purpose; a command line prints its text without a traceback."""


class ConfigError(RobotRLError):
    """A task, cell or command line says something that cannot be meant."""


class SpecMismatch(RobotRLError):
    """Two parts that must agree (policy, adapter, robot, client, server) do not; names both sides."""


class PolicyReplaced(SpecMismatch):
    """A policy server answers as another model or version than the one it was; the caller holds until it is back."""


class BadObservation(RobotRLError):
    """An observation lacks a key, or has one of the wrong shape or dtype; the next one is served."""


class BadAction(RobotRLError):
    """An action or chunk has the wrong shape, or a number that is not finite."""


class LearningDiverged(RobotRLError):
    """A loss or a weight of the learner is not finite any more; which, and what to change."""


class WireError(RobotRLError):
    """A message from outside that is not well formed, too large, too deep or of a forbidden dtype."""


class ContextMiss(RobotRLError):
    """A policy server no longer keeps the context that was named; the client sends its observation again."""


class DeadlineMissed(RobotRLError):
    """An answer did not come in time; the caller holds."""


class StoreError(RobotRLError):
    """The episode store or the label log refused: the reason, and what is still safe."""


class DiskError(StoreError):
    """The disk refuses to be written, full or failing; what was there is intact, and the next attempt may succeed."""


class NoSuchEpisode(StoreError):
    """No closed episode has that number: there is nothing to label."""


class LabelConflict(StoreError):
    """A label that contradicts what is already there (same id, other body; or a stale revision)."""


class IntegrityError(StoreError):
    """A file's sha256, length or spec hash is not what its manifest says; it is not used."""


class IllegalTransition(RobotRLError):
    """An operator's command that the session's present state does not allow."""


class RobotFault(RobotRLError):
    """The robot or its driver reports an error; latched until an operator clears it."""


class RobotReflex(RobotFault):
    """The robot has stopped by itself (a collision, a limit, a motion it refuses); says which of its errors are set."""


class RobotLost(RobotFault):
    """The connection to the robot or its gripper is gone, or does not come about; whatever it does now is unknown."""


class ArmStuck(RobotFault):
    """The arm does not get where it is to go, though the robot itself says nothing; somebody must free it."""


class ProcessEnded(RobotRLError):
    """A process that the run cannot do without has ended; carries its last words."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The words for a mistyped name: `; did you mean 'usr'? valid: dsrl-na, usr`."""
    names = sorted(valid)
    close = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    guess = next((n for n in names if close and n.lower() == close[0]), None)
    hint = f"; did you mean {guess!r}?" if guess else ";"
    return f"{hint} valid: {', '.join(names)}"
