"""Which adapter version acts in the next episode: the one due (lockstep), or the newest verified (real time)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from robot_rl.adapters.acting import BaseAdapter, load_adapter, newest_verified
from robot_rl.adapters.files import numbers
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import IntegrityError
from robot_rl.protocols import Adapter
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from robot_rl.types import PolicySpec

log = logging.getLogger(__name__)

POLL_S = 0.02
LAG = 1
"""Labelled episodes that a lockstep version does not know yet: the learner works while the robot runs the next one."""


@dataclass
class LockstepAdapters:
    """For the episode after some labelled ones, the version that was trained on all of them but the newest `LAG`.

    A version that is damaged, or that will not come any more because newer ones are there, is replaced by the newest
    older one that verifies, or if there is none (a run that began offline) by the oldest newer one; the log says so.
    """

    run: RunDirectory
    spec: PolicySpec
    method: MethodConfig
    _due: tuple[int, int] = field(default=(0, 0), repr=False)
    """(episode, the episode through which its version is to have been trained; 0: none)."""

    def next(self, episode: int) -> Adapter | None:
        if self._due[0] != episode:
            labelled = [number for number, _ in labelled_episodes(self.run)]
            self._due = episode, labelled[-1 - LAG] if len(labelled) > LAG else 0
        due = self._due[1]
        base = BaseAdapter(SteeringLayout(self.spec, self.method))
        if due == 0:
            return base
        versions = published(self.run.adapters)
        if max(versions, default=0) < due:
            return None
        older = sorted((known for known in versions if known <= due), reverse=True)
        newer = sorted(known for known in versions if known > due)
        for through in (*older, *newer):
            try:
                adapter = load_adapter(self.run.adapters, versions[through], self.spec)
            except IntegrityError as error:
                log.warning("an adapter version is not used: %s", error)
                continue
            if through != due:
                log.warning("no version through episode %d: version %d acts", due, adapter.version)
            return adapter
        return base


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
    """Wait until the learner has published a version that knows every labelled episode; None if there is none.

    `pump` is called meanwhile, and ends the wait by raising.
    """
    last = max((episode for episode, _ in labelled_episodes(run)), default=0)
    while max(published(run.adapters), default=0) < last:
        pump()
        time.sleep(POLL_S)
    return newest_verified(run.adapters, spec) if last else None


def published(directory: Path) -> dict[int, int]:
    """Last episode that a version was trained on -> that version, by the manifests that can be read."""
    paths = [directory / f"{number:06d}.json" for number in numbers(directory)]
    manifests = (_through(path, path.stat().st_mtime_ns) for path in paths)
    return {through: version for through, version in manifests if through}


@lru_cache(maxsize=4096)
def _through(path: Path, changed_ns: int) -> tuple[int, int]:
    try:
        manifest = json.loads(path.read_bytes())
        return int(manifest["through_episode"]), int(manifest["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("an adapter manifest is not used: %s: %s", path, error)
        return 0, 0
