"""How a benchmark ends: a table for a person, a sentence, and one last line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show(console: Console, table: Table, words: str, figures: Mapping[str, Any]) -> int:
    """Print all three; returns the exit status."""
    console.print(table)
    if words:
        console.print(words)
    console.file.write(json.dumps(figures) + "\n")
    return 0
