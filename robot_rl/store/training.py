"""Which episodes may be trained on, and why the others may not."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import MANIFEST_NAME, EpisodeHeader, Manifest, read_manifest
from robot_rl.store.label_snapshot import LabelSnapshot
from robot_rl.store.labels import LabelEvent
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.types import LabelValue


class TrainingSet(NamedTuple):
    """A view of store and label log; rebuilt whenever it is asked for."""

    labelled: list[tuple[int, LabelValue]]
    """(episode, success or failure) in the order of episodes."""
    left_out: dict[int, str]
    """Labelled episode -> why it is not trained on."""


def labelled_episodes(run: RunDirectory) -> list[tuple[int, LabelValue]]:
    """The episodes to train on: closed, complete, labelled success or failure, no fault; in order."""
    return training_set(run, labels_of(run)).labelled


def first_free_episode(run: RunDirectory) -> int:
    """The number that a run goes on with: behind every closed episode and every label, lost episodes' too."""
    return 1 + max([0, *run.closed_episodes(), *labels_of(run)])


def labels_of(run: RunDirectory) -> dict[int, LabelEvent]:
    """Episode -> its label as of now, of a run that may not be written to; none while there is no log."""
    if not os.path.lexists(run.labels):
        return {}
    log = LabelSnapshot(run.labels)
    try:
        return log.current()
    finally:
        log.close()


def training_set(run: RunDirectory, labels: dict[int, LabelEvent]) -> TrainingSet:
    """What `labels` and the manifests say together; a damaged manifest leaves out its episode and no other.

    Raises `StoreError` when run.json cannot be read: nobody could say then which episodes are foreign.
    """
    chosen = TrainingSet([], {})
    info = _info(run)
    for episode, event in labels.items():
        reason = _objection(run, info, episode, event.label.value)
        if reason is None:
            chosen.labelled.append((episode, event.label.value))
        else:
            chosen.left_out[episode] = reason
    return chosen


def _objection(run: RunDirectory, info: RunInfo, episode: int, value: LabelValue) -> str | None:
    if value is LabelValue.DISCARD:
        return "discarded by its label"
    try:
        manifest = manifest_of(run, episode)
    except StoreError as error:
        return str(error)
    if (words := foreign(manifest.header, info)) is not None:
        return words
    if manifest.outcome.ended_by == "fault":
        return "ended by a robot fault"
    return None if manifest.outcome.complete else f"incomplete, ended by {manifest.outcome.ended_by}"


@lru_cache(maxsize=64)
def _info(run: RunDirectory) -> RunInfo:
    """run.json is never written again: what was read once holds."""
    return run.read_info()


def foreign(header: EpisodeHeader, info: RunInfo) -> str | None:
    """Why an episode is none of the run that `info` describes, or None: what `verify` names is not trained on."""
    if header.spec_hash != info.spec_hash:
        return f"recorded with policy spec {header.spec_hash:.12}, the run's is {info.spec_hash:.12}"
    return None


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
