"""Checkpoints: all that a learner needs to go on bit for bit, beside the episodes and labels of its run.

One pair of files per adapter version in `checkpoints/`, each written whole or not at all. The newest one that verifies
and is of this run is gone on from: a kill during a write, a flipped bit or a foreign file costs that version and
nothing else, for whatever it knew is in the episodes and is learnt again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from robot_rl.adapters.files import numbers, read_weights, remove_weights, write_weights
from robot_rl.errors import IntegrityError, SpecMismatch
from robot_rl.learn.learner import Learner
from robot_rl.store.origin import origin_of, require_origin
from robot_rl.types import Array

KEPT = 3
"""Newest checkpoints that stay; every adapter version stays in `adapters/`."""


def save_checkpoint(
    directory: Path, learner: Learner, label_watermark: int, task: str, stays: Container[int] = ()
) -> None:
    """Write the learner's whole state as checkpoint `learner.version`, then drop those older than the newest `KEPT`.

    Those that are in `stays` are not dropped. Raises `DiskError` when the disk refuses; every older checkpoint is then
    as it was.
    """
    arrays, manifest = learner.state()
    manifest |= {"label_watermark": label_watermark, **origin_of(task, learner.spec)}
    write_weights(directory, learner.version, arrays, manifest)
    for number in [number for number in numbers(directory)[:-KEPT] if number not in stays]:
        with contextlib.suppress(OSError):  # the next save removes it
            remove_weights(directory, number)


def newest(directory: Path) -> tuple[dict[str, Array], dict[str, Any]] | None:
    """The newest checkpoint that can be read, as `read_weights` gives it."""
    for number in reversed(numbers(directory)):
        with contextlib.suppress(IntegrityError):
            return read_weights(directory, number)
    return None


def resume(directory: Path, learner: Learner, task: str, take: Callable[[int], None]) -> list[str]:
    """Bring a new learner to the newest checkpoint that is whole and of this run; what was wrong with newer ones.

    `take` gives the learner one episode, by adding it or by refusing it. Without a usable checkpoint the learner stays
    new. Raises `SpecMismatch` for a checkpoint of other settings or of episodes that are no longer there.
    """
    complaints = []
    for number in reversed(numbers(directory)):
        try:
            arrays, manifest = read_weights(directory, number)
            require_origin(f"checkpoint {number}", manifest, task, learner.spec)
        except (IntegrityError, SpecMismatch) as error:
            complaints.append(str(error))
            continue
        for episode in manifest["consumed"]:
            if (reason := manifest["refused"].get(str(episode))) is not None:
                learner.refuse(episode, reason)  # though it may be readable by now: it was not learnt from
            else:
                take(episode)
        learner.restore(arrays, manifest)
        break
    return complaints
