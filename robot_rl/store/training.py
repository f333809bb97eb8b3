"""Which episodes may be trained on, and why the others may not."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import MANIFEST_NAME, Manifest, read_manifest
from robot_rl.store.labels import LabelEvent, LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.types import LabelValue


class TrainingSet(NamedTuple):
    """A view of store and label log; rebuilt whenever it is asked for."""

    labelled: list[tuple[int, LabelValue]]
    """(episode, success or failure) in the order of episodes."""
    left_out: dict[int, str]
    """Labelled episode -> why it is not trained on."""


def labelled_episodes(run: RunDirectory) -> list[tuple[int, LabelValue]]:
    """The episodes to train on: closed, complete, labelled success or failure, no fault; in order."""
    log = LabelLog(run.labels)
    try:
        return training_set(run, log.current()).labelled
    finally:
        log.close()


def first_free_episode(run: RunDirectory) -> int:
    """The number that a run goes on with: behind every closed episode and every label, lost episodes' too."""
    log = LabelLog(run.labels)
    try:
        return 1 + max([0, *run.closed_episodes(), *log.current()])
    finally:
        log.close()


def training_set(run: RunDirectory, labels: dict[int, LabelEvent]) -> TrainingSet:
    """What `labels` and the manifests say together; a damaged manifest leaves out its episode and no other."""
    chosen = TrainingSet([], {})
    for episode, event in labels.items():
        reason = _objection(run, episode, event.label.value)
        if reason is None:
            chosen.labelled.append((episode, event.label.value))
        else:
            chosen.left_out[episode] = reason
    return chosen


def _objection(run: RunDirectory, episode: int, value: LabelValue) -> str | None:
    if value is LabelValue.DISCARD:
        return "discarded by its label"
    try:
        outcome = manifest_of(run, episode).outcome
    except StoreError as error:
        return str(error)
    if outcome.ended_by == "fault":
        return "ended by a robot fault"
    return None if outcome.complete else f"incomplete, ended by {outcome.ended_by}"


def manifest_of(run: RunDirectory, episode: int) -> Manifest:
    """The manifest of a closed episode; read again only if its file has changed. Raises as `read_manifest` does."""
    folder = run.episode(episode)
    try:
        status = os.lstat(folder / MANIFEST_NAME)
    except OSError as error:
        raise StoreError(f"episode {episode} is not closed: {error.strerror or error}") from error
    manifest = _manifest(folder, status.st_ino, status.st_mtime_ns, status.st_size)
    if manifest.header.episode != episode:
        raise IntegrityError(f"{folder}: its manifest is of episode {manifest.header.episode}; the episode is not used")
    return manifest


@lru_cache(maxsize=16384)
def _manifest(folder: Path, inode: int, changed_ns: int, size: int) -> Manifest:
    return read_manifest(folder)
