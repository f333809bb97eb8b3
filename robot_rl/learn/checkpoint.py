"""Checkpoints: all that a learner needs to go on bit for bit, beside the episodes and labels of its run.

One pair of files per adapter version in `checkpoints/`, each written whole or not at all; the newest one whose sha256
verifies is used, so a kill during a write costs that version and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robot_rl.adapters.files import numbers, read_weights, remove_weights, write_weights
from robot_rl.errors import IntegrityError
from robot_rl.learn.learner import Learner

KEPT = 3
"""Newest checkpoints that stay; every adapter version stays in `adapters/`."""


def save_checkpoint(directory: Path, learner: Learner, label_watermark: int) -> None:
    """Write the learner's whole state as checkpoint `learner.version`, then drop those older than the newest `KEPT`."""
    arrays, manifest = learner.state()
    write_weights(directory, learner.version, arrays, {**manifest, "label_watermark": label_watermark})
    for number in numbers(directory)[:-KEPT]:
        remove_weights(directory, number)


def resume(directory: Path, learner: Learner, take: Callable[[int], None]) -> list[str]:
    """Bring a new learner to the newest checkpoint that verifies; returns what was wrong with newer ones, if any.

    `take` gives the learner one episode, by adding it or by refusing it. Without a usable checkpoint the learner stays
    new. Raises `SpecMismatch` for a checkpoint of another policy or method.
    """
    complaints = []
    for number in reversed(numbers(directory)):
        try:
            arrays, manifest = read_weights(directory, number)
        except IntegrityError as error:
            complaints.append(str(error))
            continue
        for episode in manifest["consumed"]:
            take(episode)
        learner.restore(arrays, manifest)
        break
    return complaints
