"""`robot-rl verify`, `repair` and `label`: what a person does to a run's data between episodes, or years later."""

from __future__ import annotations

import getpass
import os
import uuid
from pathlib import Path

from rich.console import Console
from rich.table import Table

from robot_rl.compositions.adapter_source import published
from robot_rl.compositions.plain_text import plain
from robot_rl.compositions.run_files import check_files, check_weights
from robot_rl.compositions.terminal import progress_bar
from robot_rl.errors import ConfigError, StoreError
from robot_rl.store.check import Finding, check_episodes, check_labels, check_numbers
from robot_rl.store.labels import LabelLog
from robot_rl.store.repair import repair
from robot_rl.store.run import RunDirectory, locate
from robot_rl.store.training import labelled_episodes, manifest_of
from robot_rl.types import Label, LabelValue

LONGEST_AUTHOR = 100
"""Characters of who labels: a name, not a text."""


def verify_run(path: Path, console: Console) -> bool:
    """Print what is wrong with a run; True if nothing is. Nothing is changed."""
    run = RunDirectory.look(path)
    findings = []
    closed = run.closed_episodes()
    with progress_bar(console) as bar:
        row = bar.add_task("episodes", total=len(closed), note="")
        for found in check_episodes(run):
            findings += found
            bar.advance(row)
    weights, of_weights = check_weights(run)
    findings += check_numbers(run) + check_labels(run) + check_files(run) + of_weights + _of_predecessor(run)
    checked = f"{len(closed)} episodes, {weights} adapters and checkpoints"
    if findings:
        table = Table("where", "what", title=f"{path.name}: {len(findings)} findings in {checked}")
        for finding in findings:
            table.add_row(plain(finding.where), plain(finding.what))
        console.print(table)
    else:
        console.print(plain(f"{path}: nothing is wrong with {checked}"))
    return not findings


def _of_predecessor(run: RunDirectory) -> list[Finding]:
    """What is wrong with the episodes and labels that a run took over from the one it was begun from."""
    before = run.predecessor
    if not os.path.isfile(before.run_json):  # `check_files` says it where there should be one
        return []
    try:
        found = [finding for findings in check_episodes(before) for finding in findings]
        found += check_numbers(before) + check_labels(before)
    except StoreError as error:
        found = [Finding(before.run_json.name, str(error))]
    return [Finding(f"{before.path.name}/{finding.where}", finding.what) for finding in found]


def repair_episode(folder: Path, console: Console) -> bool:
    """Salvage an episode and print what was kept and lost; True if nothing was lost."""
    salvage = repair(folder)
    table = Table("topic", "kept", "lost")
    for topic in sorted({*salvage.kept, *salvage.lost}):
        table.add_row(plain(topic), str(salvage.kept.get(topic, 0)), str(salvage.lost.get(topic, 0)))
    console.print(table)
    for damage in salvage.damage:
        console.print(plain(f"damage: {damage}"))
    for loss in salvage.losses:
        console.print(plain(f"lost: {loss}"))
    if salvage.already:
        words = "made by an earlier repair of the same bytes; no other copy is made"
    elif ".salvaged." in salvage.folder.name and not any(salvage.kept.values()):
        words = "nothing in it could be read; the original bytes are kept"
    elif ".salvaged." in salvage.folder.name:
        words = "readable, incomplete, never trained on; the original bytes are kept"
    else:
        words = "as its manifest says, nothing to repair"
    console.print(plain(f"{salvage.folder}: {words}"), soft_wrap=True)
    return salvage.whole


def label_episode(folder: Path, value: LabelValue, author: str | None, revision: int | None, console: Console) -> None:
    """Append a label, or a correction of the label that is `revision` (default: of whatever is there now).

    Works while the run goes on: the log takes many writers. Raises `LabelConflict` if another label came in between.
    """
    run, number, path = locate(folder)
    if path != run.episode(number):
        raise StoreError(
            f"{folder}: expected a closed episode, as RUN/episodes/{number:06d}; others are never labelled"
        )
    if not os.path.lexists(run.labels):
        raise StoreError(f"{run.labels} is gone: put it back; `robot-rl verify` tells what else is missing")
    if value is not LabelValue.DISCARD:
        manifest_of(run, number)  # what is no episode of this number, or says nothing of itself, is not learnt from
    author = author or getpass.getuser()
    if len(author) > LONGEST_AUTHOR:
        raise ConfigError(f"--author: expected at most {LONGEST_AUTHOR} characters, got {len(author)}")
    log = LabelLog(run.labels)
    try:
        current = log.current().get(number)
        if current is not None and current.label.value is value and revision in (None, current.seq):
            by = current.label.author
            console.print(plain(f"episode {number} is {value.value} already, by {by} (revision {current.seq})"))
            return
        expected = revision if revision is not None else current.seq if current else 0
        event = log.add(Label(uuid.uuid4().hex, number, value, author), expected)
    finally:
        log.close()
    was = f", was {current.label.value.value} by {current.label.author} (revision {current.seq})" if current else ""
    console.print(plain(f"episode {number}: {value.value} by {event.label.author} (revision {event.seq}){was}"))
    known = published(run.adapters)
    if max(known, default=0) >= number:
        words = (
            f"adapters up to v{max(known.values())} were trained before this. A run that goes on learns from it with "
            f"its next episode; one that is over, when it is given more of them (`robot-rl run --resume {run.path} "
            f"--episodes {len(labelled_episodes(run)) + 1}`), or anew (`robot-rl train-offline {run.path}`)"
        )
        console.print(plain(words), soft_wrap=True)
