"""Weights out of files that may be damaged or hostile: one error for whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from robot_rl.adapters.files import read_weights
from robot_rl.errors import IntegrityError
from robot_rl.types import Array


def sound_weights(directory: Path, number: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, manifest), as `read_weights` gives them. Raises `IntegrityError` and nothing else."""
    try:
        return read_weights(directory, number)
    except (SafetensorError, RecursionError, MemoryError, ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(f"{directory / f'{number:06d}'}: no weights that can be read: {error!r:.120}") from error
