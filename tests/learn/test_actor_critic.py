"""The losses of the single-critic methods, written out method by method."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from robot_rl.learn.learner import Learner
from robot_rl.learn.replay import Batch
from robot_rl.types import LabelValue
from tests.learn.bandit import chunks, config_of, decoder_of, spec_of

METHODS = ["dsrl-sac", "policy-decorator", "residual-rl", "rlpd", "usr-sac", "zprl"]


def learner(method: str, **changes: Any) -> Learner:
    """With episodes to draw from, and an actor that is no longer at its beginning."""
    update = {"warmup_episodes": 0, "hidden": 16, "batch": 32, "clip_targets": False, "timeouts_terminal": False}
    config = config_of(method).model_copy(update={**update, **changes})
    subject = Learner(spec_of(method), method, config, decoder_of(method), seed=0)
    for number in range(1, 9):
        subject.add_episode(chunks(number, 3, subject.layout.size, truncated=number % 2 == 0))
    subject.set_labels({k: LabelValue.SUCCESS if k % 3 == 0 else LabelValue.FAILURE for k in range(1, 9)})
    subject._method.actor.network.flat.normal_(0, 0.3, generator=torch.Generator().manual_seed(1))
    return subject


def asked(method: str, batch: Batch, steer: Tensor, scale: float, layout: Any) -> tuple[Tensor, Tensor]:
    """What the critic is asked about: of what was done, and of `steer` at the next state."""
    if method in ("dsrl-sac", "usr-sac"):
        return batch.steer, steer
    if method == "zprl":
        return batch.extra["z"] + scale * batch.steer, batch.extra["next_z"] + scale * steer
    residual = steer @ torch.from_numpy(layout.residual_map / layout.action_half)
    if method == "rlpd":
        return batch.executed, residual
    return batch.executed, batch.extra["next_base"] + residual


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("reduce", ["min", "mean"])
def test_the_critic_descends_the_squared_error_to_the_papers_target(method: str, entropy: bool, reduce: str) -> None:
    subject = learner(method, entropy_in_target=entropy, critic_reduce=reduce, initial_temperature=0.5)
    half: Any = subject._method
    batch = subject.replay.sample(32, torch.Generator().manual_seed(2))
    before = subject._generator.get_state()
    sees = torch.cat([batch.next_features, batch.extra["next_z"]], 1) if method == "zprl" else batch.next_features
    with torch.no_grad():
        steer, log_prob = half.actor.sample(sees, subject._generator)
        done, following = asked(method, batch, steer, subject.config.latent_scale, subject.layout)
        q_next = half._target(torch.cat([batch.next_features, following], 1))[..., 0]
        value = q_next.amin(0) if reduce == "min" else q_next.mean(0)
        value = value - 0.5 * log_prob if entropy else value
        y = batch.reward + batch.discount * (1 - batch.done) * value
        q = half._critic(torch.cat([batch.features, done], 1))[..., 0]
        expected = ((q - y) ** 2).mean(1).sum()
    subject._generator.set_state(before)
    assert torch.isclose(half.update(batch)["td_loss"], expected, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_actor_climbs_the_critic(method: str) -> None:
    subject = learner(method, initial_temperature=1e-4, target_entropy=-100.0, actor_learning_rate=3e-3, tau=1e-6)
    half: Any = subject._method
    batch = subject.replay.sample(32, torch.Generator().manual_seed(2))
    values = [float(half._improve_actor(batch)["actor_value"]) for _ in range(60)]
    assert sum(values[-10:]) > sum(values[:10]) + 1e-3
