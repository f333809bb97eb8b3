"""The durable latch: STOP and FAULT on disk, so that no restart forgets them.

The file is replaced as a whole (written beside it, synced, renamed, directory synced): after a crash it is the old or
the new one. It is written before a STOP is acknowledged, so an acknowledged STOP is always in it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from robot_rl.errors import IntegrityError
from robot_rl.safety.supervisor import Supervision
from robot_rl.types import Cause, SafetyLevel


def write_latch(path: Path, state: Supervision, change: str) -> None:
    """Replace the latch by the latched causes of `state`; `change` says in words why. Raises `OSError`."""
    causes = [asdict(cause) for cause in state.causes if cause.level >= SafetyLevel.STOP]
    text = json.dumps({"epoch": state.epoch, "serial": state.serial, "causes": causes, "change": change}, indent=2)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_latch(path: Path) -> Supervision:
    """What was latched; a fresh state if there is no file yet. Raises `IntegrityError` if it cannot be understood."""
    if not path.exists():
        return Supervision()
    try:
        raw = json.loads(path.read_text())
        causes = tuple(Cause(**{**cause, "level": SafetyLevel(cause["level"])}) for cause in raw["causes"])
        return Supervision(epoch=int(raw["epoch"]), serial=int(raw["serial"]), causes=causes)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrityError(
            f"{path}: expected the guard's latch, got something else ({error!r}); a STOP may be in it: "
            "look at the robot, then delete the file"
        ) from error
