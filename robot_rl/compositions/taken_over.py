"""Episodes of one run that another takes over: read, put in the terms of its method, written into its store."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from robot_rl.compositions.plan import look_at_run
from robot_rl.config import TaskConfig
from robot_rl.errors import SpecMismatch, StoreError
from robot_rl.learn.offline import Interface, as_learnt_by, with_own_base
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, read_manifest
from robot_rl.store.packed import stored_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.store.taken import ORIGIN, steers_known
from robot_rl.store.training import labels_of, training_set
from robot_rl.types import Label, LabelValue, PolicySpec, Transition


@dataclass(frozen=True)
class Taken:
    """An episode that is taken over; numbers are given when it is written."""

    header: EpisodeHeader
    outcome: EpisodeOutcome
    transitions: Callable[[], list[Transition]]
    """Reads them: only one episode is in memory at a time."""
    value: LabelValue
    author: str
    origin: dict[str, Any]


def recorded(path: Path, target: Interface, task: TaskConfig) -> tuple[list[Taken], list[str]]:
    """The labelled episodes of a run, and for each labelled one that cannot be used, why."""
    run, info, theirs, policy = look_at_run(path)
    _require_alike(path, task, target.spec, theirs, policy.spec)
    source = Interface(policy.spec, info.method, theirs.method(info.method))
    labels = labels_of(run)
    chosen = training_set(run, labels)
    taken, left_out = [], list(chosen.left_out.values())

    def converted(episode: int, given: bool) -> tuple[list[Transition], bool]:
        found, known = as_learnt_by(target, source, stored_transitions(run, episode), steers_known=given)
        return with_own_base(target, source, found, policy), known

    def chunks(episode: int, given: bool) -> list[Transition]:
        return converted(episode, given)[0]

    for episode, value in chosen.labelled:
        try:
            folder = run.episode(episode)
            manifest, given = read_manifest(folder), steers_known(folder)
            _, known = converted(episode, given)  # what does not fit is refused before anything is written
        except StoreError as error:
            left_out.append(str(error))
            continue
        load = partial(chunks, episode, given)
        origin = {"run": str(run.path.resolve()), "episode": episode, "sha256": manifest.sha256, "steers_known": known}
        author = labels[episode].label.author
        taken.append(Taken(manifest.header, manifest.outcome, load, value, author, origin))
    return taken, left_out


def unchanged(run: RunDirectory, learnt: Container[int] | None = None) -> list[Taken]:
    """The labelled episodes of a run as they are, of those that are in `learnt` (None: of all that can be read)."""
    labels, taken = labels_of(run), []
    for episode, value in training_set(run, labels).labelled:
        if learnt is not None and episode not in learnt:
            continue
        try:
            folder = run.episode(episode)
            manifest, known = read_manifest(folder), steers_known(folder)
            transitions = partial(stored_transitions, run, episode)
            transitions()  # what cannot be read is left out before anything is written
        except StoreError:
            continue
        origin = {"run": str(run.path.resolve()), "episode": episode, "sha256": manifest.sha256, "steers_known": known}
        author = labels[episode].label.author
        taken.append(Taken(manifest.header, manifest.outcome, transitions, value, author, origin))
    return taken


def _require_alike(path: Path, task: TaskConfig, spec: PolicySpec, theirs: TaskConfig, their_spec: PolicySpec) -> None:
    if (theirs.name, their_spec.hash) != (task.name, spec.hash):
        raise SpecMismatch(
            f"{path} is of task {theirs.name} and policy {their_spec.policy_id} (spec {their_spec.hash[:12]}), the "
            f"first run of {task.name} and {spec.policy_id} ({spec.hash[:12]}); give runs of one task and one policy"
        )


def keep(run: RunDirectory, taken: Sequence[Taken]) -> None:
    """Write these as the run's first episodes, with their labels and where they are from."""
    store = Store(run)
    try:
        for number, episode in enumerate(taken, start=1):
            store.begin(replace(episode.header, episode=number))
            store.write(ORIGIN, 0, episode.origin)
            for transition in episode.transitions():
                store.write_transition(replace(transition, episode=number))
            store.end(episode.outcome)
            store.add_label(Label(f"offline-{number}", number, episode.value, episode.author))
    finally:
        store.close()
