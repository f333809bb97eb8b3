"""`robot-rl doctor`: has this machine what a run needs, and if not, what is to be done about it?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from robot_rl.compositions.machine import look
from robot_rl.compositions.machine_checks import Machine, Wanted, checked
from robot_rl.errors import ConfigError, nearest
from robot_rl.twins import HARDWARE

COLOURS = {"ok": "green", "look": "yellow", "no": "red"}


def doctor(wanted: Wanted, runs: Path, console: Console, found: Callable[[Wanted, Path], Machine] = look) -> bool:
    """Check, and print a table and a line of JSON; whether no row says `no`. `runs`: where runs are written.

    Raises `ConfigError` for a robot that there is not.
    """
    if wanted.hw not in HARDWARE:
        raise ConfigError(f"hw: there is no {wanted.hw!r}{nearest(wanted.hw, HARDWARE)}")
    rows = checked(found(wanted, runs), wanted)
    table = Table("check", "verdict", "what was found", "what to do", title=f"this machine, for {wanted.hw}")
    for row in rows:
        colour = COLOURS[row.verdict]
        table.add_row(row.check, f"[{colour}]{row.verdict}[/{colour}]", escape(row.found), escape(row.do))
    console.print(table)
    passed = all(row.verdict != "no" for row in rows)
    console.file.write(json.dumps({"passed": passed, "rows": [asdict(row) for row in rows]}) + "\n")
    return passed
