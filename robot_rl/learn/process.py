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

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from robot_rl.adapters.files import read_weights, write_weights
from robot_rl.config import ComputeConfig, MethodConfig, TaskConfig
from robot_rl.errors import IntegrityError, SpecMismatch, StoreError
from robot_rl.learn.checkpoint import resume, save_checkpoint
from robot_rl.learn.learner import Learner
from robot_rl.learn.matmul import MatmulPath, choose, probe
from robot_rl.learn.prior import load_prior
from robot_rl.learn.utd import utd_reason
from robot_rl.policy.flow import FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.store.files import read_json, sha256_file, write_json
from robot_rl.store.labels import LabelLog
from robot_rl.store.packed import stored_transitions
from robot_rl.store.pools import PoolMemory
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import training_set
from robot_rl.types import Array, Transition, canonical_hash

log = logging.getLogger(__name__)

POLL_S = 0.02
"""Between two looks at the label log."""
LOOK_S = 5.0
"""Between two looks at the episodes when no label is new: one that could not be read may be there again."""
SLICE = 20
"""Updates between two status reports."""


class RememberingLearner(Learner):
    """A learner that keeps the pool it decodes at an episode's states, so that the next life need not decode it."""

    pools: PoolMemory | None = None

    def _pool(self, transitions: Sequence[Transition]) -> tuple[Array, Array]:
        episode, size = transitions[0].episode, self.layout.noise_size
        if self.pools is None or episode < 0:  # demonstrations have no recording
            return super()._pool(transitions)
        kept = self.pools.recall(episode, (len(transitions), self.config.pool, size + self.layout.chunk_size))
        if kept is None:
            kept = np.concatenate(super()._pool(transitions), -1)
            self.pools.keep(episode, kept)
        return kept[..., :size], kept[..., size:]


def pool_memory(run: RunDirectory, learner: Learner) -> PoolMemory:
    """The memory of what `learner` decodes: policy, settings and seed decide it."""
    deciding = {
        "policy": sha256_file(run.policy), "method": learner.method_name, "seed": learner.seed,
        "config": learner.config.model_dump(mode="json"),
    }  # fmt: skip
    return PoolMemory(run, canonical_hash(deciding))


class LearnerService:
    """One run's learner. `step` takes in what is new and works it off; `serve` does so until it is told to stop."""

    def __init__(self, run: RunDirectory, task: TaskConfig, *, ordered: bool) -> None:
        """Goes on from the newest verified checkpoint.

        Raises `SpecMismatch` if that is of another run, `IntegrityError` for demonstrations that cannot be read,
        `ConfigError` for what the task file wants to compute with and this machine has not.
        """
        info = run.read_info()
        policy = FlowPolicy.load(run.policy)
        self.run, self._ordered = run, ordered
        config = task.method(info.method)
        decoder = TorchFlow.from_policy(policy)
        self.learner = RememberingLearner(
            policy.spec,
            info.method,
            config,
            decoder,
            info.seed,
            matmul=matmul_of(run, config, task.compute),
            precision=task.compute.precision,
            device=task.compute.device,
        )
        self.learner.pools = pool_memory(run, self.learner)
        if config.demonstrations is not None:
            prior = load_prior(config.demonstrations, policy, self.learner.layout, config.gamma)
            self.learner.add_demonstrations(prior)
        self._labels = LabelLog(run.labels)
        self._busy_s = 0.0
        self._updates_per_second: float | None = None
        """Over the newest budget."""
        self._waiting = 0
        """Labelled episodes that are not taken yet."""
        self._watermark = 0
        """The newest label event that the replay follows."""
        self._looked_s = 0.0
        for complaint in resume(run.checkpoints, self.learner, self._take):
            log.warning("a checkpoint was not used: %s", complaint)
        self._look()
        if adapter_is_missing(run, self.learner.version):
            self._publish_adapter(read_weights(run.checkpoints, self.learner.version)[1]["label_watermark"])
        self._report()

    def serve(self, stopping: threading.Event) -> None:
        """Until `stopping` is set; it is looked at between two slices of updates."""
        while not stopping.is_set():
            if not self.step(stopping):
                stopping.wait(POLL_S)

    def step(self, stopping: threading.Event | None = None) -> bool:
        """Take in new episodes, do what updates are owed, publish a version; False if there was nothing new."""
        known, looked_lately = self._watermark, time.monotonic() - self._looked_s < LOOK_S
        if looked_lately and not self._waiting and self._labels.watermark() == known:
            return False
        new = self._look()
        if not new:
            if self._watermark != known:
                self._report()
            return False
        for episode in new[:1] if self._ordered else new:
            self._take(episode)
        self._look()
        started, before = time.monotonic(), self.learner.updates
        while self.learner.owed and not (stopping is not None and stopping.is_set()):
            if self._labels.watermark() != self._watermark:
                self._look()
            self.learner.learn(min(SLICE, self.learner.owed))
            elapsed = time.monotonic() - started
            self._updates_per_second = (self.learner.updates - before) / elapsed
            self._report(elapsed)
        self._busy_s += time.monotonic() - started
        if not self.learner.owed:
            self._publish()
        return True

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

    def _publish(self) -> None:
        """The checkpoint first: an adapter version that the robot has used can always be gone on from."""
        save_checkpoint(self.run.checkpoints, self.learner, self._watermark)
        self._publish_adapter(self._watermark)

    def _publish_adapter(self, watermark: int) -> None:
        """`watermark`: the newest label event that the newest batch of these weights followed."""
        manifest = {**self.learner.manifest(), "label_watermark": watermark, "losses": self.learner.losses}
        write_weights(self.run.adapters, self.learner.version, self.learner.actor_arrays(), manifest)
        self._report()

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
        }
        write_json(self.run.learner_json, status)

    def _take(self, episode: int) -> None:
        """Give the learner one episode; a damaged one is refused, and the process lives on."""
        try:
            self.learner.add_episode(stored_transitions(self.run, episode))
        except (StoreError, SpecMismatch) as error:
            self.learner.refuse(episode, str(error))
        if episode in self.learner.refused:
            log.warning("episode %d is not trained on: %s", episode, self.learner.refused[episode])


def matmul_of(run: RunDirectory, config: MethodConfig, compute: ComputeConfig) -> MatmulPath:
    """The path of this run's matrix products on this machine (`learn.matmul`), written down with what was measured."""
    measured = probe(batch=config.batch, hidden=config.hidden, members=config.critics)
    earlier = None
    if run.compute_json.exists():
        with contextlib.suppress(IntegrityError):
            earlier = read_json(run.compute_json).get("matmul")
    if earlier not in get_args(MatmulPath):
        earlier = None
    path = choose(compute.matmul, earlier, measured)
    if earlier is not None and earlier != path:
        log.warning("this run multiplied matrices by %s, now by %s: its updates will differ in bits", earlier, path)
    log.info("%s; taken: %s", measured, path)
    write_json(run.compute_json, {"matmul": path, "onednn_speedup": measured.speedup, "onednn_error": measured.error})
    return path


def adapter_is_missing(run: RunDirectory, version: int) -> bool:
    """Whether a kill came between checkpoint and adapter, or the adapter was damaged since: it is published again."""
    if version == 0:
        return False
    try:
        read_weights(run.adapters, version)
    except IntegrityError:
        return True
    return False
