"""A run at a glance: its episodes and how they went, its size, and what was learnt from labels corrected since.

`overview` of 10,000 episodes takes well under a second (`python -m benchmarks.store`): what their manifests say is
remembered in `.episodes.memory`, what the adapters' say in `.adapters.memory` (`robot_rl.store.remembered`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.corrections import Correction, Version, corrections
from robot_rl.store.episode import MANIFEST_NAME, MCAP_NAME, read_manifest
from robot_rl.store.files import load_json, open_inside
from robot_rl.store.label_snapshot import LabelSnapshot
from robot_rl.store.labels import LabelEvent
from robot_rl.store.remembered import remembered
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.types import LabelValue


@dataclass(frozen=True, slots=True)
class Overview:
    """One run's row."""

    info: RunInfo
    complete: int
    """Closed episodes that can be trained on."""
    incomplete: int
    """Those that were cut off: closed as incomplete, set aside, or open."""
    unreadable: int
    """Closed ones whose manifest is damaged."""
    labels_gone: bool
    """Episodes were closed, and the log of what was said of them is not there."""
    outcomes: Sequence[bool]
    """Success or not, of the complete episodes that are labelled so, in order."""
    newest_version: int
    """Of the adapter; 0: none."""
    bytes: int
    """Of recordings and weights."""
    corrections: Sequence[Correction]


def overview(path: Path) -> Overview:
    """Of the run at `path`; nothing but the memories is written. Raises `StoreError`."""
    run = RunDirectory.look(path)
    info, closed = run.read_info(), run.closed_episodes()
    folder = str(run.episodes)
    manifests = {str(number): f"{folder}/{number:06d}/{MANIFEST_NAME}" for number in closed}
    facts = remembered(run.path / ".episodes.memory", manifests, 2, lambda name: _facts_of_episode(run, int(name)))
    labels, history = _labels(run)
    complete = {int(name) for name, (fit, _) in facts.items() if fit}
    cut_off = run.incomplete_paths() + [run.partial(number) for number in run.partial_episodes()]
    versions, weights = _weights(run)
    return Overview(
        info=info,
        complete=len(complete),
        incomplete=len(facts) - len(complete) + len(cut_off),
        unreadable=len(closed) - len(facts),
        labels_gone=bool(closed) and not os.path.lexists(run.labels),
        outcomes=[
            event.label.value is LabelValue.SUCCESS
            for number, event in labels.items()
            if number in complete and event.label.value is not LabelValue.DISCARD
        ],
        newest_version=max(versions, default=0),
        bytes=weights + sum(size for _, size in facts.values()) + sum(map(_size, cut_off)),
        corrections=corrections(history, _versions(run, versions)) if history else [],
    )


def _facts_of_episode(run: RunDirectory, number: int) -> list[int]:
    """[whether it can be trained on, bytes of its recording]."""
    manifest = read_manifest(run.episode(number))
    if manifest.header.episode != number:
        raise IntegrityError(f"{run.episode(number)}: its manifest is of episode {manifest.header.episode}")
    return [int(manifest.outcome.complete and manifest.outcome.ended_by != "fault"), manifest.bytes]


def _labels(run: RunDirectory) -> tuple[dict[int, LabelEvent], list[LabelEvent]]:
    """(episode -> its label, the events of episodes that have several); a log that is not there is not made."""
    if not os.path.lexists(run.labels):
        return {}, []
    log = LabelSnapshot(run.labels)
    try:
        return log.current(), log.corrected()
    finally:
        log.close()


def _weights(run: RunDirectory) -> tuple[list[int], int]:
    """(the adapter versions that have a manifest, bytes of adapters and checkpoints)."""
    versions, size = [], 0
    for folder in (run.adapters, run.checkpoints):
        found = list(os.scandir(folder)) if folder.is_dir() else []
        size += sum(entry.stat(follow_symlinks=False).st_size for entry in found)
        if folder == run.adapters:
            versions = [int(m[1]) for entry in found if (m := re.fullmatch(r"([0-9]{6,9})\.json", entry.name))]
    return versions, size


def _versions(run: RunDirectory, numbers: Sequence[int]) -> list[Version]:
    """What the adapters that can be read say of their training, in order."""
    folder = str(run.adapters)
    files = {f"{number:06d}.json": f"{folder}/{number:06d}.json" for number in sorted(numbers)}

    def read(name: str) -> list[int]:
        with open_inside(run.adapters, name) as file:
            raw = load_json(file, run.adapters / name)
        try:
            values = [raw[key] for key in ("version", "through_episode", "label_watermark", "warmup")]
            return [int(value) for value in values]
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{run.adapters / name}: not an adapter's manifest: {error}") from error

    facts = remembered(run.path / ".adapters.memory", files, 4, read)
    return [Version(version, through, mark, bool(warmup)) for version, through, mark, warmup in facts.values()]


def _size(folder: Path) -> int:
    """Bytes of the recording in an episode's directory."""
    try:
        return os.lstat(folder / MCAP_NAME).st_size
    except OSError:
        return 0


def runs_in(folder: Path) -> list[Path]:
    """`folder` itself if it is a run, else the runs in it, by name; links are not followed. Raises `StoreError`."""
    if RunDirectory(folder).run_json.is_file():
        return [folder]
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise StoreError(f"cannot look for runs in {folder}: {error.strerror or error}") from error
    found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [path for path in found if RunDirectory(path).run_json.is_file()]
