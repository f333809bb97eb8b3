"""Which adapter version acts in the next episode: the one due (lockstep), or the newest verified (real time).

A version that is damaged, or of another task or policy, is never used: an older one acts, and log and page say so.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from robot_rl.adapters.acting import BaseAdapter, make_adapter
from robot_rl.adapters.files import numbers, read_weights
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import IntegrityError, SpecMismatch, StoreError
from robot_rl.protocols import Adapter
from robot_rl.store.files import read_json
from robot_rl.store.labels import LabelLog
from robot_rl.store.origin import require_origin
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from robot_rl.types import PolicySpec

log = logging.getLogger(__name__)

POLL_S = 0.02
LAG = 1
"""Labelled episodes that a lockstep version does not know yet: the learner works while the robot runs the next one."""


@dataclass
class Versions:
    """A run's adapter versions, those alone that are whole and of its task and policy."""

    run: RunDirectory
    spec: PolicySpec
    method: MethodConfig
    alarms: list[str] = field(default_factory=list)
    """What was not used and why, each once, for the page."""

    @cached_property
    def base(self) -> BaseAdapter:
        """The frozen policy as it is."""
        return BaseAdapter(SteeringLayout(self.spec, self.method))

    @cached_property
    def began_offline(self) -> bool:
        """Its first version came of all its first episodes at once: for those there is no older one to be missed."""
        return "offline" in self.run.read_info().arguments

    def first(self) -> Adapter:
        """What acts before anything is learnt here: the adapter that the run was begun with, or the frozen policy."""
        began_with = self.run.read_info().began_with
        return (self.load(began_with) if began_with else None) or self.base

    def load(self, version: int) -> Adapter | None:
        """A version; None and an alarm for one that is not to be used."""
        try:
            arrays, manifest = read_weights(self.run.adapters, version)
            require_origin(f"adapter version {version}", manifest, self.run.read_info().task, self.spec)
            return make_adapter(arrays, manifest, self.spec)
        except (IntegrityError, SpecMismatch) as error:
            self.alarm(f"adapter version {version} is not used: {error}")
            return None

    def newest(self) -> Adapter | None:
        """The newest that may be used."""
        loaded = (self.load(version) for version in reversed(numbers(self.run.adapters)))
        return next((adapter for adapter in loaded if adapter is not None), None)

    def alarm(self, words: str) -> None:
        if words not in self.alarms:
            log.warning("%s", words)
            self.alarms.append(words)


@dataclass
class LockstepAdapters:
    """For the episode after some labelled ones, the version that was trained on all of them but the newest `LAG`."""

    versions: Versions
    _due: tuple[int, int] = field(default=(0, 0), repr=False)
    """(episode, the episode through which its version is to have been trained; 0: none)."""

    def next(self, episode: int) -> Adapter | None:
        run = self.versions.run
        if self._due[0] != episode:
            labelled = [number for number, _ in labelled_episodes(run)]
            self._due = episode, labelled[-1 - LAG] if len(labelled) > LAG else 0
        return acting(self.versions, self._due[1])


@dataclass(frozen=True)
class NewestAdapters:
    """Whatever the learner has published last and may be used; before that, what the run was begun with."""

    versions: Versions

    def next(self, episode: int) -> Adapter:
        return self.versions.newest() or self.versions.base


def acting(versions: Versions, due: int) -> Adapter | None:
    """The version that was trained through episode `due` (0: on none); None: it is not there yet.

    One that may not be used, or that will not come any more because newer ones are there, is replaced by the newest
    older one that may, or if there is none (a run that began offline) by the oldest newer one.
    """
    if due == 0:
        return versions.first()
    known = published(versions.run.adapters)
    if max(known, default=0) < due:
        return None
    older = sorted((through for through in known if through <= due), reverse=True)
    newer = sorted(through for through in known if through > due)
    for through in (*older, *newer):
        adapter = versions.load(known[through])
        if adapter is None:
            continue
        if through != due and not (versions.began_offline and not older):
            versions.alarm(f"no version through episode {due} can be used: version {adapter.version} acts")
        return adapter
    return versions.first()


def await_version(versions: Versions, pump: Callable[[], object]) -> Adapter | None:
    """Wait until the learner has published a version that knows every labelled episode; None if there is none.

    Also one that was labelled after later ones were learnt, as a discarded one that is corrected. `pump` is called
    meanwhile, and ends the wait by raising.
    """
    if not labelled_episodes(versions.run):
        return None
    labels = LabelLog(versions.run.labels)
    try:
        while not _has_learnt(versions.run, labels.watermark()):
            pump()
            time.sleep(POLL_S)
    finally:
        labels.close()
    return versions.newest()


def _has_learnt(run: RunDirectory, watermark: int) -> bool:
    """Whether the learner says that it follows the labels to `watermark`, owes nothing, and has published that."""
    try:
        status = read_json(run.learner_json)
    except StoreError:
        return False
    follows = status.get("label_watermark", -1) >= watermark and status.get("waiting") == status.get("owed") == 0
    return follows and max(numbers(run.adapters), default=0) >= status["version"]


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
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("an adapter manifest is not used: %s: %s", path, error)
        return 0, 0
