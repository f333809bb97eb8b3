"""Why a learner's UTD (updates per chunk) is where it is, in one sentence for a person beside the robot."""

from __future__ import annotations

from robot_rl.learn.learner import Learner


def utd_reason(learner: Learner, updates_per_second: float | None, waiting: int) -> str:
    """`updates_per_second` as measured, None before the first; `waiting`: labelled episodes that are not taken yet."""
    if learner.stopped:
        return "learning has stopped: it has diverged"
    if learner.warming_up:
        taken = f"{learner.version} of {learner.config.warmup_episodes} episodes taken in"
        return f"warm-up: {taken}, nothing is learnt before them"
    if not learner.replay.sampleable:
        return "waiting for episodes: none of those so far can be learnt from (refused or discarded)"
    if not learner.owed:
        return "waiting for episodes: all owed updates are done"
    if updates_per_second is None:
        return f"{learner.owed} updates are owed and have begun"
    pace = f"updates take {_short(1 / updates_per_second)} each and {learner.owed} are owed"
    if not waiting:
        return f"{pace}: the newest episodes are being worked off"
    episodes = "1 labelled episode waits" if waiting == 1 else f"{waiting} labelled episodes wait"
    return f"{pace}, while {episodes}: the robot is faster than this CPU learns"


def _short(seconds: float) -> str:
    """In ms below one second, in three digits at most."""
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"
