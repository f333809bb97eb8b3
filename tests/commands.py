"""Commands as a person types them, each in a process of its own; bounded in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}

Done = subprocess.CompletedProcess[str]


def robot_rl(*arguments: str, timeout_s: float = 240) -> Done:
    """Run `robot-rl`."""
    return module("robot_rl.cli", *arguments, timeout_s=timeout_s)


def module(name: str, *arguments: str, timeout_s: float, nice: int = 0) -> Done:
    """Run `python -m name` from the project's root, `nice` steps behind who runs it."""
    command = ["nice", "-n", str(nice), sys.executable, "-m", name, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT, timeout=timeout_s, check=False
    )


def figures_of(done: Done) -> dict[str, Any]:
    """The line of JSON that a command ends with; it must have succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures
