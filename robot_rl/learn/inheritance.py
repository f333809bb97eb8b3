"""What a run that was begun from another one (`robot-rl run --from`) has of it, as its learner takes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from robot_rl.config import load_task
from robot_rl.errors import DiskError, StoreError
from robot_rl.learn.offline import Interface, as_learnt_by
from robot_rl.store.packed import stored_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labels_of, training_set
from robot_rl.types import LabelValue, PolicySpec, Transition

log = logging.getLogger(__name__)


def predecessor_interface(run: RunDirectory, spec: PolicySpec) -> Interface:
    """Whose steers the episodes that `run` took over have. Raises `StoreError`, `ConfigError`."""
    before = run.predecessor
    method = before.read_info().method
    return Interface(spec, method, load_task(before.task_yaml).method(method))


def inherited_episodes(run: RunDirectory, ours: Interface) -> Iterator[tuple[list[Transition], LabelValue]]:
    """The labelled episodes of `run`'s predecessor in our terms, in order; one that cannot be read is left out.

    Raises `StoreError` when there is no predecessor.
    """
    before = RunDirectory.look(run.predecessor.path)
    theirs = predecessor_interface(run, ours.spec)
    for episode, value in training_set(before, labels_of(before)).labelled:
        try:
            transitions = stored_transitions(before, episode)
        except DiskError:
            raise
        except StoreError as error:
            log.warning("an episode that was taken over is not learnt from: %s", error)
            continue
        yield as_learnt_by(ours, theirs, transitions)[0], value
