"""What the manifests of a run's episodes and adapters say and how large they are, as far as an overview needs it.

Read once, then remembered, in `.episodes.memory`, `.adapters.memory` and `.sizes.memory` (`robot_rl.store.remembered`).
The store brings the first up to date when it lets go of a run, so that whoever lists the run next reads no manifest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple

from robot_rl.errors import IntegrityError
from robot_rl.store.corrections import Version
from robot_rl.store.episode import MANIFEST_NAME, read_manifest
from robot_rl.store.files import load_json, open_inside
from robot_rl.store.remembered import remembered
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.training import foreign


class EpisodeFacts(NamedTuple):
    """Of a closed episode."""

    fit: bool
    """It can be trained on."""
    bytes: int
    """Of its recording."""


def episode_facts(run: RunDirectory, info: RunInfo, closed: Iterable[int]) -> dict[int, EpisodeFacts]:
    """Of those of the `closed` episodes whose manifest can be read."""
    folder = str(run.episodes)
    manifests = {str(number): f"{folder}/{number:06d}/{MANIFEST_NAME}" for number in closed}

    def read(name: str) -> list[int]:
        number = int(name)
        manifest = read_manifest(run.episode(number))
        if manifest.header.episode != number:
            raise IntegrityError(f"{run.episode(number)}: its manifest is of episode {manifest.header.episode}")
        outcome = manifest.outcome
        fit = outcome.complete and outcome.ended_by != "fault" and foreign(manifest.header, info) is None
        return [int(fit), manifest.bytes]

    found = remembered(run.path / ".episodes.memory", manifests, 2, read)
    return {int(name): EpisodeFacts(bool(fit), size) for name, (fit, size) in found.items()}


def adapter_facts(run: RunDirectory, versions: Iterable[int]) -> list[Version]:
    """What those adapters that can be read say of their training, in order."""
    folder = str(run.adapters)
    files = {f"{number:06d}.json": f"{folder}/{number:06d}.json" for number in sorted(versions)}

    def read(name: str) -> list[int]:
        with open_inside(run.adapters, name) as file:
            raw = load_json(file, run.adapters / name)
        try:
            values = [raw[key] for key in ("version", "through_episode", "label_watermark", "warmup")]
            return [int(value) for value in values]
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{run.adapters / name}: not an adapter's manifest: {error}") from error

    found = remembered(run.path / ".adapters.memory", files, 4, read)
    return [Version(version, through, mark, bool(warmup)) for version, through, mark, warmup in found.values()]


def total_bytes(run: RunDirectory, closed: Iterable[int]) -> int:
    """Of all that lies beside its recordings and those it took over, of policy, adapters and checkpoints, on the disk.

    A closed episode's files, adapters and checkpoints are never written in place: what is in a folder is added up again
    when a name in it was added, replaced or taken away.
    """
    episodes = str(run.episodes)
    names = {f"{number:06d}" for number in closed}
    folders = {name: f"{episodes}/{name}" for name in sorted(names)}
    folders |= {folder.name: str(folder) for folder in (run.adapters, run.checkpoints)}
    before = run.predecessor.episodes
    if os.path.isdir(before):
        folders |= {f"{before.parent.name}/{name}": f"{before}/{name}" for name in os.listdir(before)}
    sizes = remembered(run.path / ".sizes.memory", folders, 1, lambda name: [bytes_in(folders[name])])
    growing = [f"{episodes}/{name}" for name in os.listdir(episodes) if name not in names]
    return (
        sum(size for (size,) in sizes.values())
        + sum(_or_none(bytes_in, folder) for folder in growing)
        + _or_none(_bytes_of, str(run.policy))
    )


def bytes_in(folder: str) -> int:
    """Of the files in it. Raises `OSError`."""
    with os.scandir(folder) as files:
        return sum(file.stat(follow_symlinks=False).st_size for file in files)


def _bytes_of(file: str) -> int:
    return os.lstat(file).st_size


def _or_none(measure: Callable[[str], int], path: str) -> int:
    """0 for what is not there, or not any more."""
    try:
        return measure(path)
    except OSError:
        return 0
