"""How few demonstrations make the frozen policy imperfect, of an environment that `benchmarks.gym.known` does not name.

A policy that always succeeds has nothing to learn, and one that never does is never told that it has. So there should
be as many as make it succeed in 30 to 60 % of trials. That is looked for with the frozen policy alone, before any
method is trained, on starts that no cell is judged on. (`--policy-only` gives the very figure that it was chosen by.)
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
CLOSE = 1.25
"""Between two numbers whose ratio is no larger none is looked at: each look costs minutes."""

Judge = Callable[[GymTask], float]
"""Success of the frozen policy that is cloned for a task, 0 to 1."""


def imperfect(task: GymTask, judge: Judge, say: Callable[[str], None]) -> GymTask:
    """`task` with that many demonstrations, or with those that come nearest; `say` hears of each look.

    Raises `ConfigError` where no number that was looked at leaves something to learn, and where the expert does not
    manage to demonstrate at all.
    """
    looks: dict[int, float] = {}
    number: int | None = FIRST
    while number is not None:
        try:
            looks[number] = judge(_with(task, number))
        except ConfigError as error:  # an expert that seldom succeeds may show few, and not so many
            if not looks:
                raise
            say(f"{task.env}: {number} demonstrations are not looked at: {error}")
            break
        say(f"{task.env}: the frozen policy succeeds in {_looked(number, looks[number])}")
        number = following(looks)
    usable = [number for number, success in looks.items() if NEVER <= success <= ALWAYS]
    if not usable:
        raise ConfigError(_hopeless(task.env, looks))
    best = min(usable, key=lambda one: max(LOW - looks[one], looks[one] - HIGH, 0.0))
    if not LOW <= looks[best] <= HIGH:
        say(f"{task.env}: none of these gives {LOW:.0%} to {HIGH:.0%}; goes on with {_looked(best, looks[best])}")
    return _with(task, best)


def following(looks: Mapping[int, float]) -> int | None:
    """The number to look at after `looks` (number -> success); None: no other."""
    if any(LOW <= success <= HIGH for success in looks.values()):
        return None
    few = max((number for number, success in looks.items() if success < LOW), default=None)
    many = min((number for number, success in looks.items() if success > HIGH), default=None)
    if few is None:
        assert many is not None  # one of the two has every look
        number = many * 2 // 5
    elif many is None:
        number = 2 * few if 2 * few <= MOST else 0
    else:
        number = 0 if many <= CLOSE * few else round(math.sqrt(few * many))
    return None if number == 0 or number in looks else number


def _hopeless(env: str, looks: Mapping[int, float]) -> str:
    seen = "; ".join(_looked(*look) for look in sorted(looks.items()))
    found = f"--env {env}: expected the frozen policy to succeed in {LOW:.0%} to {HIGH:.0%}, got {seen}"
    if min(looks.values()) > ALWAYS:
        return f"{found}. It leaves nothing to learn: make the demonstrations worse by --noise or --bias"
    if max(looks.values()) < NEVER:
        return (
            f"{found}. Nobody could tell what helps it: give it more --max-steps, more --demonstrations than these, or "
            "a better --expert"
        )
    return f"{found}. Between these nothing was found: choose a number by --demonstrations"


def _with(task: GymTask, number: int) -> GymTask:
    return replace(task, imperfection=replace(task.imperfection, episodes=number))


def _looked(number: int, success: float) -> str:
    return f"{success:.0%} by {number} demonstration{'s' if number > 1 else ''}"
