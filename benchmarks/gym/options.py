"""What the command line changes of an environment and of its demonstrations."""

from __future__ import annotations

import argparse
import math
from contextlib import closing
from dataclasses import replace
from typing import Any

from benchmarks.arguments import count
from benchmarks.gym.known import task_of
from benchmarks.gym.tasks import AT_LEAST, RETURN, GymTask, space_of
from robot_rl.errors import ConfigError

OF_THE_TASK = ("max_steps", "expert", "success")
OF_ITS_DEMONSTRATIONS = ("demonstrations", "noise", "bias")


def add_task_options(parser: argparse.ArgumentParser) -> None:
    """Those of `OF_THE_TASK` and `OF_ITS_DEMONSTRATIONS`; None where nothing is changed."""
    parser.add_argument("--max-steps", type=count, help="then an episode has failed (default: its own limit, or 200)")
    parser.add_argument(
        "--expert",
        help="MODULE:FACTORY; the factory gets the environment, returns observation -> action, in its own units; "
        "another source of the module is another cell, what it imports does not count",
    )
    parser.add_argument(
        "--success",
        type=criterion,
        metavar="KEY",
        help="of info, true or false; KEY>=NUMBER for a number there, or `return>=NUMBER` for the sum of the rewards "
        "so far (quote it); or `terminated` (default: the environment's here, or success)",
    )
    wrong = parser.add_argument_group(
        "what is wrong with the demonstrations",
        "(default: the environment's here; of one that is not known it is looked for, unless one of these is given)",
    )
    wrong.add_argument("--demonstrations", type=count, metavar="N", help="few: so many episodes of the expert")
    wrong.add_argument("--noise", type=spread, metavar="SD", help="noisy: of each action, in halves of its range")
    what = "biased: an entry of the action is off by so many halves of its range; may be given again"
    wrong.add_argument("--bias", type=bias, action="append", metavar="ENTRY=AMOUNT", help=what)


def changes(arguments: argparse.Namespace, names: tuple[str, ...] = OF_THE_TASK + OF_ITS_DEMONSTRATIONS) -> list[str]:
    """Which of `names` the command line has something on."""
    return [name for name in names if not (getattr(arguments, name) is None or getattr(arguments, name) is False)]


def chosen_task(env: str, arguments: argparse.Namespace) -> GymTask:
    """The environment as it is known here, with what is changed. Raises `ConfigError` for an action that it lacks."""
    task = task_of(env, **{name: getattr(arguments, name) for name in OF_THE_TASK})
    wrong: dict[str, Any] = {name: getattr(arguments, name) for name in changes(arguments, OF_ITS_DEMONSTRATIONS)}
    if "bias" in wrong:
        wrong["bias"] = tuple(wrong["bias"])
        with closing(task.make()) as made:
            size = space_of(made).size
        entries = [entry for entry, _ in wrong["bias"]]
        if missing := set(entries) - set(range(size)):
            raise ConfigError(f"--bias {min(missing)}=...: expected an action of {env}, 0 to {size - 1}")
        if len(entries) > len(set(entries)):
            raise ConfigError(f"--bias: expected each action once, got {entries}")
    if "demonstrations" in wrong:
        wrong["episodes"] = wrong.pop("demonstrations")
    return replace(task, imperfection=replace(task.imperfection, **wrong))


def criterion(text: str) -> str:
    """KEY or KEY>=NUMBER."""
    key, at_least, number = (part.strip() for part in text.partition(AT_LEAST))
    try:
        least = float(number) if at_least else 1.0
    except ValueError:
        least = math.nan
    if not key or set(key) & set("<>=") or not math.isfinite(least) or (key == RETURN and not at_least):
        raise argparse.ArgumentTypeError(f"expected KEY, or KEY>=NUMBER as return>=300; got {text!r}")
    if key == RETURN and least <= 0:
        raise argparse.ArgumentTypeError(
            f"expected a number above 0: the sum is of the rewards so far, and begins with 0; got {text!r}"
        )
    return f"{key}{at_least}{number}"


def spread(text: str) -> float:
    """0 to 10."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 10.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 10, got {text}")
    return number


def bias(text: str) -> tuple[int, float]:
    """ENTRY=AMOUNT."""
    entry, _, amount = text.partition("=")
    try:
        off = int(entry), float(amount)
    except ValueError:
        off = 0, 99.0
    if not -2.0 <= off[1] <= 2.0:
        raise argparse.ArgumentTypeError(f"expected ENTRY=AMOUNT with an amount from -2 to 2, as 1=0.2; got {text!r}")
    return off
