"""The learner of a run as its process starts it: on the run's frozen policy, settings and demonstrations."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robot_rl.adapters.files import numbers
from robot_rl.config import ComputeConfig, MethodConfig, TaskConfig
from robot_rl.errors import DiskError, RobotRLError
from robot_rl.learn.inheritance import inherited_episodes
from robot_rl.learn.learner import Learner
from robot_rl.learn.matmul import MatmulPath, choose, probe
from robot_rl.learn.prior import load_prior
from robot_rl.policy.backbones.loading import decoder_of, load_checkpoint
from robot_rl.store.compute import read_compute, write_compute
from robot_rl.store.files import sha256_file
from robot_rl.store.pools import PoolMemory
from robot_rl.store.run import RunDirectory
from robot_rl.types import Array, LabelValue, Transition, canonical_hash

log = logging.getLogger(__name__)


def learner_of(run: RunDirectory, task: TaskConfig) -> RunLearner:
    """A new one; it is brought to a checkpoint by `learn.checkpoint.resume`.

    Raises `IntegrityError` for demonstrations or a compute.json that cannot be read, `ConfigError` for what the task
    file wants to compute with and this machine has not.
    """
    info = run.read_info()
    policy = load_checkpoint(run.policy)
    config = task.method(info.method)
    learner = RunLearner(
        policy.spec,
        info.method,
        config,
        decoder_of(policy),
        info.seed,
        matmul=matmul_of(run, config, task.compute),
        precision=task.compute.precision,
        device=task.compute.device,
        folder=run.path,
    )
    learner.pools = pool_memory(run, learner)
    if config.demonstrations is not None:
        prior = load_prior(config.demonstrations, policy, learner.layout, config.gamma)
        learner.add_demonstrations(prior)
    if info.began_with:
        learner.inherit(info.began_with, inherited_episodes(run, config.gamma))
    return learner


class RunLearner(Learner):
    """A learner that may have begun with what another run learnt, and that need not decode twice.

    It keeps the pool that it decodes at an episode's states, for its next life.
    """

    pools: PoolMemory | None = None
    began_with = 0
    """The adapter version that its run was begun with; 0: none."""
    restored = False
    """Whether it goes on from a checkpoint."""

    @property
    def version(self) -> int:
        """Counted on from the one that the run was begun with."""
        return self.began_with + super().version

    def inherit(self, version: int, episodes: Iterable[tuple[Sequence[Transition], LabelValue]]) -> None:
        """Begin with adapter `version` of another run, whose labelled `episodes` stay in the replay as prior data.

        They are numbered below 0 and count for nothing but learning; one with bad data is left out. Before any episode
        of this run; the weights come with `restore`. Raises `DiskError` when there is no room for them.
        """
        for transitions, value in episodes:
            number = -1 - len(self._demonstrated)
            try:
                self.replay.add_episode([replace(t, episode=number) for t in transitions], prior=True)
            except DiskError:
                raise
            except RobotRLError as error:
                log.warning("an episode of the predecessor is not learnt from: %s", error)
                continue
            self._demonstrated[number] = value
            self._demonstration_chunks += len(transitions)
        self.began_with = version

    def restore(self, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> None:
        """As `Learner.restore`, and remember that it was."""
        super().restore(arrays, manifest)
        self.restored = True

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


def matmul_of(run: RunDirectory, config: MethodConfig, compute: ComputeConfig) -> MatmulPath:
    """The path of this run's matrix products on this machine (`learn.matmul`), written down with what was measured.

    Raises `IntegrityError` when what the run took before cannot be read.
    """
    measured = probe(batch=config.batch, hidden=config.hidden, members=config.critics)
    earlier = read_compute(run)
    if earlier is None and numbers(run.checkpoints):
        log.warning(
            "%s is gone: how this run computes is decided anew, its updates may differ in bits", run.compute_json
        )
    path = choose(compute.matmul, earlier, measured)
    if earlier is not None and earlier != path:
        log.warning("this run multiplied matrices by %s, now by %s: its updates will differ in bits", earlier, path)
    log.info("%s; taken: %s", measured, path)
    with contextlib.suppress(DiskError):  # the next start writes it
        write_compute(run, path, measured.speedup, measured.error)
    return path
