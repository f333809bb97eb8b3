"""Whether the robot may move: a state machine of pure functions, with the time as an argument.

In the manner of PX4's `failsafe/framework.h`: each cause has a level and its own clear condition, and the most severe
one decides. STOP and FAULT are latched: they raise the epoch, end activity, and clear only when an operator names them.
HOLD causes are of two sorts: *watched* ones come and go with a deadline; the others stay until a command is obeyed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from robot_rl.clock import MS
from robot_rl.errors import IllegalTransition
from robot_rl.types import Cause, Command, SafetyLevel, SafetyState

if TYPE_CHECKING:
    from robot_rl.config import GuardConfig

NEVER = -(1 << 62)
"""ns: the stamp of what has not happened yet."""
BY_OPERATOR = "operator"
"""Clear condition of latched causes."""


class Rule(NamedTuple):
    """How severe a kind of cause is and what clears it."""

    level: SafetyLevel
    clears: str


BY_COMMAND = "a command that is obeyed"

RULES = {
    "robot_fault": Rule(SafetyLevel.FAULT, BY_OPERATOR),
    "driver_hung": Rule(SafetyLevel.FAULT, BY_OPERATOR),
    "latch_failed": Rule(SafetyLevel.FAULT, BY_OPERATOR),
    "operator_stop": Rule(SafetyLevel.STOP, BY_OPERATOR),
    "operator_silent": Rule(SafetyLevel.HOLD, "the operator's deadline is renewed"),
    "observation_stale": Rule(SafetyLevel.HOLD, "the robot reports again"),
    "command_late": Rule(SafetyLevel.HOLD, BY_COMMAND),
    "command_stale": Rule(SafetyLevel.HOLD, BY_COMMAND),
    "not_active": Rule(SafetyLevel.HOLD, BY_COMMAND),
    "bad_action": Rule(SafetyLevel.HOLD, BY_COMMAND),
}
"""Every kind of cause there is."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """All that the supervisor knows."""

    epoch: int = 1
    serial: int = 0
    """Causes raised so far; the number in the newest cause's id."""
    causes: tuple[Cause, ...] = ()
    active: bool = False
    """An episode or homing runs."""
    operator_ns: int = NEVER
    """When the operator last renewed."""
    command_ns: int = NEVER
    """When a command was last obeyed, or activity began."""
    observation_ns: int = NEVER
    """When the newest observation was taken."""


def reported(state: Supervision) -> SafetyState:
    """What the world is told: the most severe cause first, the older first among equals."""
    causes = tuple(sorted(state.causes, key=lambda cause: -cause.level))
    return SafetyState(causes[0].level if causes else SafetyLevel.OK, state.epoch, causes)


def raised(state: Supervision, kind: str, detail: str, now_ns: int) -> Supervision:
    """A cause appears.

    A HOLD that is there already stays as it is. A latched cause replaces one of its kind under a new id (so that
    clearing the old one, seen before this, is refused), raises the epoch, and ends activity with the HOLDs it had.
    """
    rule = RULES[kind]
    cause = Cause(f"{kind}-{state.serial + 1}", kind, rule.level, detail, rule.clears, now_ns)
    if rule.level < SafetyLevel.STOP:
        if any(other.kind == kind for other in state.causes):
            return state
        return replace(state, serial=state.serial + 1, causes=(*state.causes, cause))
    others = tuple(other for other in state.causes if other.clears == BY_OPERATOR and other.kind != kind)
    return replace(state, epoch=state.epoch + 1, serial=state.serial + 1, causes=(*others, cause), active=False)


def cleared(state: Supervision, cause_id: str) -> Supervision:
    """An operator clears the latched cause `cause_id`. Raises `IllegalTransition` if it is not latched now."""
    latched = [cause.id for cause in state.causes if cause.clears == BY_OPERATOR]
    if cause_id not in latched:
        raise IllegalTransition(f"nothing to clear under {cause_id!r}; latched now: {', '.join(latched) or 'nothing'}")
    return replace(state, causes=tuple(cause for cause in state.causes if cause.id != cause_id))


def activated(state: Supervision, active: bool, now_ns: int) -> Supervision:
    """An episode or homing begins or ends, and takes its HOLDs with it. Nothing begins while a cause is latched."""
    if active == state.active:
        return state
    latched = tuple(cause for cause in state.causes if cause.clears == BY_OPERATOR)
    return replace(state, active=active and not latched, causes=latched, command_ns=now_ns)


def renewed(state: Supervision, now_ns: int) -> Supervision:
    """The operator is there."""
    return replace(state, operator_ns=now_ns)


def observed(state: Supervision, stamp_ns: int) -> Supervision:
    """The robot reported, at `stamp_ns`."""
    return replace(state, observation_ns=stamp_ns)


def watched(state: Supervision, config: GuardConfig, now_ns: int) -> Supervision:
    """The deadlines at `now_ns`; without activity none is watched."""
    if not state.active:
        return state
    silent = _late(state.operator_ns, config.operator_ms, now_ns)
    state = _follow(state, "operator_silent", silent, f"no renewal for {config.operator_ms:g} ms", now_ns)
    stale = _late(state.observation_ns, config.observation_ms, now_ns)
    state = _follow(state, "observation_stale", stale, f"robot silent for {config.observation_ms:g} ms", now_ns)
    if _late(state.command_ns, config.command_ms, now_ns):
        return raised(state, "command_late", f"no command obeyed for {config.command_ms:g} ms", now_ns)
    return state


def judged(state: Supervision, command: Command, config: GuardConfig, now_ns: int) -> tuple[Supervision, str]:
    """Whether `command` may be carried out now: the new state, and why not ("" if it may)."""
    state = watched(state, config, now_ns)
    for cause in reported(state).causes:
        if cause.clears != BY_COMMAND:
            return state, f"{cause.level.name}: {cause.kind}: {cause.detail}"
    if command.epoch != state.epoch:
        kind, why = "command_stale", f"made under epoch {command.epoch}, now is {state.epoch}"
    elif not state.active:
        kind, why = "not_active", "a command while no episode runs: call set_active(True) first"
    elif now_ns > command.deadline_ns:
        kind, why = "command_late", f"{(now_ns - command.deadline_ns) / MS:.1f} ms past its deadline"
    else:
        return state, ""
    return raised(state, kind, why, now_ns), f"HOLD: {kind}: {why}"


def obeyed(state: Supervision, now_ns: int) -> Supervision:
    """A command is carried out: what waited for that clears."""
    causes = tuple(cause for cause in state.causes if cause.clears != BY_COMMAND)
    return replace(state, causes=causes, command_ns=now_ns)


def restarted(state: Supervision) -> Supervision:
    """After the guard's process began anew with `state` from the latch: commands made for the old process are void."""
    return replace(state, epoch=state.epoch + 1)


def _late(since_ns: int, limit_ms: float, now_ns: int) -> bool:
    return now_ns - since_ns > limit_ms * MS


def _follow(state: Supervision, kind: str, present: bool, detail: str, now_ns: int) -> Supervision:
    """A watched cause: there while its condition is."""
    if present:
        return raised(state, kind, detail, now_ns)
    return replace(state, causes=tuple(cause for cause in state.causes if cause.kind != kind))
