"""Policy Decorator: the critic sees sums, and the next base chunk is the one that was executed next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robot_rl.errors import SpecMismatch
from robot_rl.learn.learner import Learner
from robot_rl.types import Array, LabelValue
from tests.learn.bandit import SPEC, BimodalDecoder, chunks, config_of


def learner(method: str = "policy-decorator", **changes: Any) -> Learner:
    config = config_of(method).model_copy(update={"warmup_episodes": 0, "hidden": 16, **changes})
    return Learner(SPEC, method, config, BimodalDecoder(), seed=0)


def rows(subject: Learner, name: str) -> Array:
    return subject.replay._extra[name].data[: len(subject.replay)].numpy()


@pytest.mark.parametrize("method", ["policy-decorator", "residual-rl"])
def test_the_next_base_chunk_is_that_of_the_following_chunk(method: str) -> None:
    subject = learner(method)
    episode = chunks(1, 3, subject.layout.size)
    subject.add_episode(episode)
    expected = subject.layout.normalise(np.stack([t.base_chunk for t in episode]))
    assert np.array_equal(rows(subject, "base"), expected)
    assert np.array_equal(rows(subject, "next_base")[:-1], expected[1:])
    assert not rows(subject, "next_base")[-1].any()


def test_behind_a_bootstrapped_time_out_the_base_is_decoded_once() -> None:
    subject, again = learner(timeouts_terminal=False), learner(timeouts_terminal=False)
    episode = chunks(1, 3, subject.layout.size, truncated=True)
    for each in (subject, again):
        each.add_episode(episode)
    last = rows(subject, "next_base")[-1].reshape(2, 4)
    assert 0.2 < abs(last[0, 1]) <= 0.5  # up to 5 of 10 mm, left or right: a chunk of this decoder
    assert np.isclose(last[0, 2], 0.1 * episode[-1].next_features[0], atol=0.1)
    assert np.array_equal(rows(subject, "next_base"), rows(again, "next_base"))


def test_the_residual_moves_what_the_critic_is_asked_about_by_alpha() -> None:
    subject = learner()
    subject.add_episode(chunks(1, 3, 1))
    subject.set_labels({1: LabelValue.SUCCESS})
    batch = subject.replay.sample(8, torch.Generator().manual_seed(0))
    method: Any = subject._method
    up, down = (method.would(batch, torch.full((8, 1), sign), following=True) for sign in (1.0, -1.0))
    moved = (up - down).view(8, 2, 4)
    assert torch.allclose(moved[..., 2], torch.tensor(0.4))  # 2 * 2 mm of +-10 mm
    assert not moved[..., [0, 1, 3]].any()
    assert torch.allclose((up + down) / 2, batch.extra["next_base"], atol=1e-6)
    assert torch.equal(method.taken(batch), batch.executed)


def test_the_actor_sees_the_features_alone() -> None:
    subject = learner()
    subject.add_episode(chunks(1, 3, 1))
    subject.set_labels({1: LabelValue.SUCCESS})
    batch = subject.replay.sample(8, torch.Generator().manual_seed(0))
    method: Any = subject._method
    assert torch.equal(method.sees(batch, following=False), batch.features)
    assert torch.equal(method.sees(batch, following=True), batch.next_features)


def test_learning_never_decodes_and_does_not_see_the_gate() -> None:
    class Refusing:
        def decode(self, features: Tensor, noise: Tensor) -> Tensor:
            raise AssertionError("the base policy is a black box on the robot")

    config = config_of("policy-decorator").model_copy(update={"warmup_episodes": 0, "hidden": 16})
    states = []
    for horizon in (0, 10_000):
        subject = Learner(
            SPEC, "policy-decorator", config.model_copy(update={"residual_horizon": horizon}), Refusing(), 0
        )
        subject.add_episode(chunks(1, 3, 1))
        subject.set_labels({1: LabelValue.SUCCESS})
        subject.learn(3)
        states.append(subject.actor_arrays()["layer.0.weight"].copy())
    assert np.array_equal(*states)


def test_a_bound_is_needed() -> None:
    with pytest.raises(SpecMismatch, match="residual"):
        learner(residual_layout="none")
    with pytest.raises(SpecMismatch, match="residual_scale"):
        learner(residual_scale=())


def test_the_ablation_reaches_as_far_as_the_actions() -> None:
    layout = learner("residual-rl").layout
    reach = layout.split(np.ones((1, layout.size), np.float32))[1][0]
    assert np.allclose(reach, [0.01, 0.01, 0.01, 0.04])


def test_a_base_chunk_of_another_size_is_refused_by_episode() -> None:
    subject = learner()
    first, second = chunks(4, 2, 1)
    subject.add_episode([first, replace(second, base_chunk=np.zeros((3, 4), np.float32))])
    assert "episode 4" in subject.refused[4]
