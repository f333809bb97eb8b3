"""Which adapter version acts in the next episode: the one due (lockstep), or the newest verified (real time)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from robot_rl.adapters.acting import BaseAdapter, load_adapter, newest_verified
from robot_rl.adapters.files import numbers
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.protocols import Adapter
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from robot_rl.types import PolicySpec

POLL_S = 0.02
LAG = 1
"""Labelled episodes that a lockstep version does not know yet: the learner works while the robot runs the next one."""


@dataclass
class LockstepAdapters:
    """For the episode after n labelled ones, the version that was trained on the first n - `LAG`."""

    run: RunDirectory
    spec: PolicySpec
    method: MethodConfig
    _due: tuple[int, int] = field(default=(0, 0), repr=False)
    """(episode, the version it is to have)."""

    def next(self, episode: int) -> Adapter | None:
        if self._due[0] != episode:
            self._due = episode, max(0, len(labelled_episodes(self.run)) - LAG)
        version = self._due[1]
        if version == 0:
            return BaseAdapter(SteeringLayout(self.spec, self.method))
        if version not in numbers(self.run.adapters):
            return None
        return load_adapter(self.run.adapters, version, self.spec)


@dataclass(frozen=True)
class NewestAdapters:
    """Whatever the learner has published last and verifies; the base policy before that."""

    run: RunDirectory
    spec: PolicySpec
    method: MethodConfig

    def next(self, episode: int) -> Adapter:
        newest = newest_verified(self.run.adapters, self.spec)
        return newest or BaseAdapter(SteeringLayout(self.spec, self.method))


def await_version(run: RunDirectory, spec: PolicySpec, pump: Callable[[], object]) -> Adapter | None:
    """Wait until the learner has published the version that knows every labelled episode; None if there is none.

    `pump` is called meanwhile, and ends the wait by raising.
    """
    version = len(labelled_episodes(run))
    while version and version not in numbers(run.adapters):
        pump()
        time.sleep(POLL_S)
    return load_adapter(run.adapters, version, spec) if version else None
