"""How a benchmark ends: a table for a person, a sentence, and one last line of JSON; or an error in one line."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from robot_rl.errors import ConfigError, RobotRLError

REFUSED, INTERRUPTED = 2, 130
"""Exit status, as `robot-rl` has them."""


def show(console: Console, table: Table, words: str, figures: Mapping[str, Any]) -> int:
    """Print all three; returns the exit status."""
    console.print(table)
    if words:
        console.print(words)
    console.file.write(json.dumps(figures) + "\n")
    return 0


def in_words(
    body: Callable[[], int], interrupted: str = "interrupted; the same command goes on behind what is done"
) -> int:
    """The exit status of `body`; what it refuses, and Ctrl-C, are one line on stderr, without a traceback."""
    try:
        return body()
    except RobotRLError as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED


def usable(folder: Path) -> None:
    """Make `folder`, and see that it can be written to before hours are spent. Raises `ConfigError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"--out {folder}: expected a folder that can be written to; {error.strerror or error}"
        ) from error
