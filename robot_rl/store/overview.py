"""A run at a glance: its episodes and how they went, its size, and what was learnt from labels corrected since.

`overview` of 10,000 episodes takes well under a second (`python -m benchmarks.store`): what was said of each before is
remembered (`robot_rl.store.facts`).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.errors import StoreError
from robot_rl.store.corrections import Correction, corrections
from robot_rl.store.episode import MCAP_NAME
from robot_rl.store.facts import EpisodeFacts, adapter_facts, episode_facts, total_bytes
from robot_rl.store.label_snapshot import LabelSnapshot
from robot_rl.store.labels import LabelEvent
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
    facts = episode_facts(run, info, closed)
    labels, history = _labels(run)
    there = _recorded(run, facts)
    complete = {number for number in there if facts[number].fit}
    cut_off = len(run.incomplete_paths()) + len(run.partial_episodes())
    versions = _versions(run)
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
        bytes=total_bytes(run, closed),
        corrections=corrections(history, adapter_facts(run, versions)) if history else [],
    )


def _labels(run: RunDirectory) -> tuple[dict[int, LabelEvent], list[LabelEvent]]:
    """(episode -> its label, the events of episodes that have several); a log that is not there is not made."""
    if not os.path.lexists(run.labels):
        return {}, []
    log = LabelSnapshot(run.labels)
    try:
        return log.current(), log.corrected()
    finally:
        log.close()


def _versions(run: RunDirectory) -> list[int]:
    """The adapter versions that have a manifest."""
    try:
        names = os.listdir(run.adapters) if os.path.isdir(run.adapters) else []
    except OSError as error:
        raise StoreError(f"cannot look into {run.adapters}: {error.strerror or error}") from error
    return [int(found[1]) for name in names if (found := re.fullmatch(r"([0-9]{6,9})\.json", name))]


def _recorded(run: RunDirectory, facts: Mapping[int, EpisodeFacts]) -> set[int]:
    """The episodes whose recording is there, and as long as their manifest says."""
    folder, there = str(run.episodes), set()
    for number, fact in facts.items():
        with contextlib.suppress(OSError):
            if os.lstat(f"{folder}/{number:06d}/{MCAP_NAME}").st_size == fact.bytes:
                there.add(number)
    return there


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
