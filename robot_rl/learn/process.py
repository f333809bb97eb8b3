"""The learner as a process of its own: reads a run's episodes and labels, writes its checkpoints and adapter versions.

It talks to nobody. Episodes come from the store's directory, labels from the label log; versions and the status file
go into the run's directory, each written whole or not at all. Two ways to go on (DESIGN decision 6):

- ordered (lockstep): one labelled episode after the other, each with its whole budget, so that a version depends on
  the episodes before it and on nothing else;
- otherwise (real time): whatever is labelled by now is taken in together.

A label that is corrected counts from the next batch that is drawn, in the middle of a budget too. A correction earns no
updates of its own: when nothing is owed, as after the last episode of a run, the replay has it at once, and weights
follow with the next episode's budget. The status then names it as `label_watermark`, and `robot-rl runs` the versions
that were trained on the old value.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from robot_rl.adapters.files import read_weights, write_weights
from robot_rl.config import TaskConfig
from robot_rl.errors import DiskError, IntegrityError, LearningDiverged, SpecMismatch, StoreError
from robot_rl.learn.checkpoint import newest, resume, save_checkpoint
from robot_rl.learn.run_learner import learner_of
from robot_rl.learn.utd import utd_reason
from robot_rl.store.files import write_json
from robot_rl.store.golden import Golden, adapter_output, read_golden
from robot_rl.store.labels import LabelLog
from robot_rl.store.origin import origin_of
from robot_rl.store.packed import stored_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import training_set

log = logging.getLogger(__name__)

POLL_S = 0.02
"""Between two looks at the label log."""
LOOK_S = 5.0
"""Between two looks at the episodes when no label is new: one that could not be read may be there again."""
RETRY_S = 1.0
"""Between two attempts at what the disk has refused."""
SLICE = 20
"""Updates between two status reports."""


class LearnerService:
    """One run's learner. `step` takes in what is new and works it off; `serve` does so until it is told to stop."""

    def __init__(self, run: RunDirectory, task: TaskConfig, *, ordered: bool) -> None:
        """Goes on from the newest checkpoint that is whole and of this task and policy.

        Raises `SpecMismatch` if that was made with other settings, `IntegrityError` if the run was begun from another
        one and has no whole checkpoint, and as `learner_of` does.
        """
        self.run, self._ordered, self._task, self._config = run, ordered, run.read_info().task, task
        self.learner = learner_of(run, task)
        self._labels = LabelLog(run.labels)
        self._busy_s = 0.0
        self._updates_per_second: float | None = None
        """Over the newest budget."""
        self._waiting = 0
        """Labelled episodes that are not taken yet."""
        self._watermark = 0
        """The newest label event that the replay follows."""
        self._looked_s = 0.0
        self._unwritten: Callable[[], None] | None = None
        """What the disk has refused, to be tried again at `_retry_s`; the learner's state is in memory meanwhile."""
        self._retry_s = 0.0
        self._waits: dict[str, str] = {}
        """What the disk has refused -> why, for the status."""
        self._unreported = False
        """Whether the disk has refused the newest status."""
        self._alarms = resume(run.checkpoints, self.learner, self._task, self._take)
        for complaint in self._alarms:
            log.warning("a checkpoint was not used: %s", complaint)
        if self.learner.began_with and not self.learner.restored:
            raise IntegrityError(
                f"{run.path} was begun with adapter version {self.learner.began_with} of another run, and there is no "
                "checkpoint of it any more: begin a new run from that one"
            )
        self._look()
        if adapter_is_missing(run, self.learner.version):
            watermark = read_weights(run.checkpoints, self.learner.version)[1]["label_watermark"]
            self._write(lambda: self._publish_adapter(watermark))
        self._report()

    def serve(self, stopping: threading.Event, active: Callable[[], bool] = lambda: True) -> None:
        """Until `stopping` is set; it rests while not `active()`. Both are looked at between two slices of updates."""
        while not stopping.is_set():
            if not active() or not self.step(stopping, active):
                stopping.wait(POLL_S)

    def step(self, stopping: threading.Event | None = None, active: Callable[[], bool] = lambda: True) -> bool:
        """Take in new episodes, do what updates are owed, publish a version; False if there was nothing new.

        While the disk refuses a version nothing new is taken in: the next one would overtake it. An episode that the
        replay has no room for waits, and whatever comes after it.
        """
        if self._unreported:
            self._report()
        if time.monotonic() < self._retry_s or not (self._unwritten is None or self._write(self._unwritten)):
            return False
        known, looked_lately = self._watermark, time.monotonic() - self._looked_s < LOOK_S
        if looked_lately and not self._waiting and self._labels.watermark() == known:
            return False
        new = self._look()
        if not new:
            if self._watermark != known:
                self._report()
            return False
        if not self._take_in(new[:1] if self._ordered else new):
            return False
        self._look()
        if self.learner.owed:
            self._report()  # the first slice may take long: meanwhile this is what is known
        started, before = time.monotonic(), self.learner.updates
        while self.learner.owed and not (stopping is not None and stopping.is_set()):
            if not active():
                time.sleep(POLL_S)
                continue
            if self._labels.watermark() != self._watermark:
                self._look()
            self.learner.learn(min(SLICE, self.learner.owed))
            elapsed = time.monotonic() - started
            if self.learner.updates > before:
                self._updates_per_second = (self.learner.updates - before) / elapsed
            if not all(map(math.isfinite, self.learner.losses.values())):
                self._stop()
            self._report(elapsed)
        self._busy_s += time.monotonic() - started
        if not self.learner.owed:
            if self.learner.broken:
                self._stop()
            self._write(self._publish)
        return True

    def _stop(self) -> None:
        """Learning has diverged: the newest checkpoint's weights, or those that it began with, act from here on.

        Nothing more is learnt in this run, after a new start neither.
        """
        why = (  # what to do comes first: a page may have room for no more
            "learning has diverged: nothing more is learnt, what was learnt before goes on acting; look at the newest "
            f"episodes, begin a run with lower learning rates (update {self.learner.updates}: {self.learner.broken})"
        )
        log.error("%s", why)
        found = newest(self.run.checkpoints)
        if found is None:  # nothing was learnt: the base policy goes on acting
            arrays, manifest = learner_of(self.run, self._config).state()
            found = arrays, {**manifest, "warmup": True}
        self.learner.stop(why, *found)

    def train(self, updates: int | None, progress: Callable[[int, int], None]) -> None:
        """Offline: take in all that is labelled, do `updates` updates (None: what the UTD owes), publish one version.

        `progress(done, of)` is called on the way. Raises `StoreError` when there is nothing to learn from, and
        `LearningDiverged`.
        """
        for episode in self._look():
            self._take(episode)
        self._look()
        if not self.learner.replay.sampleable:
            why = next(iter(self.learner.refused.values()), "no episode is labelled success or failure")
            raise StoreError(f"{self.run.path}: nothing to learn from: {why}")
        total = self.learner.owed if updates is None else updates
        started, done = time.monotonic(), 0
        while done < total:
            done += self.learner.learn(min(SLICE, total - done))
            self._updates_per_second = done / (time.monotonic() - started)
            if broken := self.learner.broken:
                raise LearningDiverged(
                    f"{self.run.path}: learning has diverged at update {self.learner.updates} ({broken}): no version "
                    "is published; lower the learning rates, and see whether the episodes are what they should be"
                )
            progress(done, total)
        self._busy_s += time.monotonic() - started
        self._publish()

    def close(self) -> None:
        self._labels.close()

    def _look(self) -> list[int]:
        """What the log says now: the next batch follows it. Returns the episodes to train on that are not taken yet."""
        self._looked_s = time.monotonic()
        labels = self._labels.current()
        self._watermark = max((event.seq for event in labels.values()), default=0)
        chosen = training_set(self.run, labels)
        self.learner.set_labels(dict(chosen.labelled))
        taken = set(self.learner.consumed)
        untaken = [episode for episode, _ in chosen.labelled if episode not in taken]
        self._waiting = len(untaken)
        return untaken

    def _take_in(self, episodes: Sequence[int]) -> bool:
        """Take these, as far as there is room for them; whether any was taken."""
        before = self.learner.version
        try:
            for episode in episodes:
                self._take(episode)
            self._waits.pop("episode", None)
        except DiskError as error:
            self._wait("episode", f"episode {episode} waits to be learnt from: {error}")
        return self.learner.version > before

    def _write(self, version: Callable[[], None]) -> bool:
        """Whether the disk took it; if not, it is tried again before anything else is done."""
        self._waits.pop("version", None)
        try:
            version()
        except DiskError as error:
            self._unwritten = version
            words = f"version {self.learner.version} is kept in memory, the disk refuses it: {error}"
            self._wait("version", words)
            return False
        self._unwritten = None
        return True

    def _wait(self, what: str, words: str) -> None:
        """Say that the disk has refused `what`; a while goes by before the next attempt."""
        if what not in self._waits:
            log.error("%s", words)
        self._waits[what], self._retry_s = words, time.monotonic() + RETRY_S
        self._report()

    def _publish(self) -> None:
        """The checkpoint first: an adapter version that the robot has used can always be gone on from."""
        learner = self.learner
        watermark = learner.stopped.get("label_watermark", self._watermark)
        save_checkpoint(self.run.checkpoints, learner, watermark, self._task, stays=(learner.began_with,))
        self._publish_adapter(watermark)

    def _publish_adapter(self, watermark: int) -> None:
        """`watermark`: the newest label event that the newest batch of these weights followed."""
        manifest = {**self.learner.adapter_manifest(), **origin_of(self._task, self.learner.spec)}
        manifest |= {"label_watermark": watermark, "losses": self.learner.losses}
        if (golden := self._golden) is not None:
            manifest["golden"] = adapter_output(golden, self.learner.adapter())
        write_weights(self.run.adapters, self.learner.version, self.learner.actor_arrays(), manifest)
        self._report()

    @property
    def _golden(self) -> Golden | None:
        """The run's golden observation: written when the robot is first seen, which may be after this process began."""
        try:
            return read_golden(self.run, self.learner.spec)
        except IntegrityError as error:  # the run does not arm with it either
            log.warning("a version goes without its golden output: %s", error)
            return None

    def _report(self, running_s: float = 0.0) -> None:
        """The newest status; wanted UTD is the setting's, reached is what the chunks since the warm-up's end got."""
        learner = self.learner
        chunks = learner.manifest()["chunks"]
        status: dict[str, Any] = {
            "alive": True,
            "updates": learner.updates,
            "version": learner.version,
            "chunks": chunks,
            "utd_wanted": learner.config.utd,
            "utd_reached": learner.updates / chunks if chunks and not learner.warming_up else 0.0,
            "utd_reason": utd_reason(learner, self._updates_per_second, self._waiting),
            "updates_per_second": self._updates_per_second,
            "seconds": round(self._busy_s + running_s, 3),
            "losses": learner.losses,
            "refused": {str(episode): reason for episode, reason in learner.refused.items()},
            "label_watermark": self._watermark,
            "waiting": self._waiting,
            "owed": learner.owed,
            "diverged": learner.stopped.get("diverged", ""),
            "alarms": [*self._alarms, *self._waits.values(), *filter(None, [learner.stopped.get("diverged")])],
        }
        try:
            write_json(self.run.learner_json, status)
            self._unreported = False
        except DiskError:
            self._unreported = True

    def _take(self, episode: int) -> None:
        """Give the learner one episode; a damaged one is refused, and the process lives on. Raises `DiskError`."""
        try:
            self.learner.add_episode(stored_transitions(self.run, episode))
        except DiskError:
            raise
        except (StoreError, SpecMismatch) as error:
            self.learner.refuse(episode, str(error))
        if episode in self.learner.refused:
            log.warning("episode %d is not trained on: %s", episode, self.learner.refused[episode])


def adapter_is_missing(run: RunDirectory, version: int) -> bool:
    """Whether a kill came between checkpoint and adapter, or the adapter was damaged since: it is published again."""
    if version == 0:
        return False
    try:
        read_weights(run.adapters, version)
    except IntegrityError:
        return True
    return False
