"""The command line itself: what its verbs hang on, and the options that several of them have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from robot_rl.errors import ConfigError, nearest
from robot_rl.methods import METHODS

app = typer.Typer(
    name="robot-rl",
    help="Make a frozen robot policy succeed: a small adapter learns online from one 0/1 per episode.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

MAX_SEED = 2**32 - 1
"""As `robot_rl.config` has it (a test compares the two), which takes longer to import than many a command to run."""
EpisodeOption = Annotated[Path, typer.Argument(help="an episode's directory, RUN/episodes/000012", show_default=False)]
RunOption = Annotated[Path, typer.Argument(help="a run's directory", show_default=False)]


def method_name(written: str | None) -> str | None:
    """`--method` as task files spell it, whatever its case, hyphens and underscores: `lpds:paper` is `lp-ds:paper`.

    What is no method, and a variant's own name, are left alone: the task says what is wrong with them.
    """
    if written is None:
        return None
    kind, colon, variant = written.partition(":")
    return next((name for name in METHODS if _letters(name) == _letters(kind)), kind) + colon + variant


def _letters(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def choose(option: str, value: str | None, valid: tuple[str, ...]) -> None:
    """Raises `ConfigError` naming the nearest valid value."""
    if value is not None and value not in valid:
        raise ConfigError(f"{option}: {value!r} is not a choice{nearest(value, valid)}")
