"""What a run that was begun from another one (`robot-rl run --from`) has of it, as its learner takes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from robot_rl.errors import DiskError, StoreError
from robot_rl.store.packed import stored_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labels_of, training_set
from robot_rl.types import LabelValue, Transition

log = logging.getLogger(__name__)


def inherited_episodes(run: RunDirectory, gamma: float) -> Iterator[tuple[list[Transition], LabelValue]]:
    """The labelled episodes of `run`'s predecessor, in order, discounted by `gamma`; their steers mean the same here.

    One that cannot be read any more is left out. Raises `StoreError` when there is no predecessor.
    """
    before = RunDirectory.look(run.predecessor.path)
    for episode, value in training_set(before, labels_of(before)).labelled:
        try:
            transitions = stored_transitions(before, episode)
        except DiskError:
            raise
        except StoreError as error:
            log.warning("episode %d of the predecessor is not learnt from: %s", episode, error)
            continue
        yield [replace(transition, discount=gamma) for transition in transitions], value
