"""A run at a glance: its episodes and how they went, its size, and what was learnt from labels corrected since.

`overview` of 10,000 episodes takes well under a second (`python -m benchmarks.store`): what their manifests say is
remembered in `.episodes.memory`, what the adapters' say in `.adapters.memory` (`robot_rl.store.remembered`).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
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
from robot_rl.store.training import foreign
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
    """Closed ones whose manifest is damaged, or whose recording is not there as it says."""
    labels_gone: bool
    """Episodes were closed, and the log of what was said of them is not there."""
    outcomes: Sequence[bool]
    """Success or not, of the complete episodes that are labelled so, in order."""
    discarded: int
    """Complete episodes that are labelled never to be trained on."""
    newest_version: int
    """Of the adapter; 0: none."""
    bytes: int
    """Of all that lies beside recordings, of the policy's weights, adapters and checkpoints, as it is on the disk."""
    corrections: Sequence[Correction]


def overview(path: Path) -> Overview:
    """Of the run at `path`; nothing but the memories is written. Raises `StoreError`."""
    run = RunDirectory.look(path)
    info, closed = run.read_info(), run.closed_episodes()
    folder = str(run.episodes)
    manifests = {str(number): f"{folder}/{number:06d}/{MANIFEST_NAME}" for number in closed}
    facts = remembered(
        run.path / ".episodes.memory", manifests, 2, lambda name: _facts_of_episode(run, info, int(name))
    )
    labels, history = _labels(run)
    sizes, before = _sizes(run.episodes), run.predecessor.episodes
    taken_over = _sizes(before) if os.path.isdir(before) else {}
    there = {int(name) for name, (_, size) in facts.items() if sizes.get(f"{int(name):06d}", (0, -1))[1] == size}
    complete = {number for number in there if facts[str(number)][0]}
    cut_off = len(run.incomplete_paths()) + len(run.partial_episodes())
    versions, weights = _weights(run)
    values = [(event.label.value, number in complete) for number, event in labels.items()]
    return Overview(
        info=info,
        complete=len(complete),
        incomplete=len(there) - len(complete) + cut_off,
        unreadable=len(closed) - len(there),
        labels_gone=bool(closed) and not os.path.lexists(run.labels),
        outcomes=[value is LabelValue.SUCCESS for value, fit in values if fit and value is not LabelValue.DISCARD],
        discarded=sum(value is LabelValue.DISCARD for value, fit in values if fit),
        newest_version=max(versions, default=0),
        bytes=weights + sum(size for size, _ in (*sizes.values(), *taken_over.values())),
        corrections=corrections(history, _versions(run, versions)) if history else [],
    )


def _facts_of_episode(run: RunDirectory, info: RunInfo, number: int) -> list[int]:
    """[whether it can be trained on, bytes of its recording]."""
    manifest = read_manifest(run.episode(number))
    if manifest.header.episode != number:
        raise IntegrityError(f"{run.episode(number)}: its manifest is of episode {manifest.header.episode}")
    outcome = manifest.outcome
    fit = outcome.complete and outcome.ended_by != "fault" and foreign(manifest.header, info) is None
    return [int(fit), manifest.bytes]


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
    with contextlib.suppress(OSError):
        size = os.lstat(run.policy).st_size
    for folder in (run.adapters, run.checkpoints):
        try:
            found = list(os.scandir(folder)) if os.path.isdir(folder) else []
        except OSError as error:
            raise StoreError(f"cannot look into {folder}: {error.strerror or error}") from error
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


def _sizes(episodes: Path) -> dict[str, tuple[int, int]]:
    """Name of each directory in there -> (bytes of all that is in it, bytes of its recording: -1 without one)."""
    found = {}
    for name in os.listdir(episodes):
        total, recording = 0, -1
        with contextlib.suppress(OSError), os.scandir(f"{episodes}/{name}") as files:
            for file in files:
                size = file.stat(follow_symlinks=False).st_size
                total += size
                if file.name == MCAP_NAME:
                    recording = size
        found[name] = total, recording
    return found


def runs_in(folder: Path) -> list[Path]:
    """`folder` itself if it is a run, else the runs in it, by name; links are not followed. Raises `StoreError`."""
    if os.path.isfile(RunDirectory(folder).run_json):
        return [folder]
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise StoreError(f"cannot look for runs in {folder}: {error.strerror or error}") from error
    found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [path for path in found if _may_be_a_run(path)]


def _may_be_a_run(path: Path) -> bool:
    """Also where nobody may look: it is then named as one that cannot be read."""
    try:
        return stat.S_ISREG(os.stat(RunDirectory(path).run_json).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False
