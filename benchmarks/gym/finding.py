"""How few demonstrations make the frozen policy imperfect, of an environment that `benchmarks.gym.known` does not name.

A policy that always succeeds has nothing to learn, and one that never does is never told that it has. So there should
be as many as make it succeed in 30 to 60 % of trials. That is looked for with the frozen policy alone, before any
method is trained, on starts that nothing else is judged on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from benchmarks.gym.tasks import GymTask
from robot_rl.errors import ConfigError

LOW, HIGH = 0.3, 0.6
"""Success that is looked for."""
NEVER, ALWAYS = 0.05, 0.9
"""Outside of these there is nothing to learn, or nobody who could tell."""
FIRST, MOST = 25, 200
"""Demonstrations that are looked at first, and at most."""

Judge = Callable[[GymTask], float]
"""Success of the frozen policy that is cloned for a task, 0 to 1."""


def imperfect(task: GymTask, judge: Judge, say: Callable[[str], None]) -> GymTask:
    """`task` with that many demonstrations, or with those that come nearest; `say` hears of each look.

    Raises `ConfigError` where no number leaves something to learn.
    """
    looks: dict[int, float] = {}
    number: int | None = FIRST
    while number is not None and number not in looks:
        looks[number] = judge(_with(task, number))
        say(f"{task.env}: the frozen policy succeeds in {_looked(number, looks[number])}")
        number = following(looks)
    best = min(looks, key=lambda one: max(LOW - looks[one], looks[one] - HIGH, 0.0))
    wanted = f"{LOW:.0%} to {HIGH:.0%}"
    if not NEVER <= looks[best] <= ALWAYS:
        raise ConfigError(
            f"--env {task.env}: expected a number of demonstrations by which the frozen policy succeeds in {wanted}, "
            f"got {'; '.join(_looked(*look) for look in sorted(looks.items()))}: say what is wrong with them by "
            "--demonstrations, --noise or --bias (--policy-only tries it)"
        )
    if not LOW <= looks[best] <= HIGH:
        say(f"{task.env}: no number of demonstrations gives {wanted}; goes on with {_looked(best, looks[best])}")
    return _with(task, best)


def following(looks: Mapping[int, float]) -> int | None:
    """The number to look at after `looks` (number -> success), which may have been among them; None: no other."""
    if any(LOW <= success <= HIGH for success in looks.values()):
        return None
    few = max((number for number, success in looks.items() if success < LOW), default=None)
    many = min((number for number, success in looks.items() if success > HIGH), default=None)
    if few is None:
        assert many is not None  # one of the two has every look
        return many * 2 // 5 or None
    if many is None:
        return 2 * few if 2 * few <= MOST else None
    return round(math.sqrt(few * many))


def _with(task: GymTask, number: int) -> GymTask:
    return replace(task, imperfection=replace(task.imperfection, episodes=number))


def _looked(number: int, success: float) -> str:
    return f"{success:.0%} by {number} demonstration{'s' if number > 1 else ''}"
