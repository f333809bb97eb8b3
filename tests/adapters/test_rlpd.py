"""RLPD: half of every batch is prior data, and the chunk is the actor's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robot_rl.errors import SpecMismatch
from robot_rl.learn.learner import Learner
from robot_rl.types import LabelValue, Source
from tests.learn.bandit import SPEC, BimodalDecoder, chunks, config_of

SUCCESS, FAILURE = LabelValue.SUCCESS, LabelValue.FAILURE


def learner(**changes: Any) -> Learner:
    config = config_of("rlpd").model_copy(update={"warmup_episodes": 0, "hidden": 16, **changes})
    return Learner(SPEC, "rlpd", config, BimodalDecoder(), seed=0)


def prior_share(subject: Learner, size: int = 200) -> float:
    """Of a batch, how much comes from prior data."""
    index = subject.replay._draw(size, torch.Generator().manual_seed(0))
    return float(subject.replay._prior.data[index].float().mean())


def demonstration(subject: Learner, number: int, count: int = 3) -> list[Any]:
    return [replace(t, episode=-number) for t in chunks(number, count, subject.layout.size)]


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_batch_has_its_share_of_prior_data_however_little_there_is(share: float) -> None:
    subject = learner(prior_share=share)
    subject.add_demonstrations([demonstration(subject, 1, 2)])
    for number in range(1, 20):
        subject.add_episode(chunks(number, 3, subject.layout.size))
    subject.set_labels(dict.fromkeys(range(1, 20), FAILURE))
    assert prior_share(subject) == share


def test_the_warm_up_and_what_a_person_did_are_prior_data() -> None:
    subject = learner(warmup_episodes=2)
    for number in range(1, 6):
        subject.add_episode(chunks(number, 2, subject.layout.size))
    first, second = chunks(6, 2, subject.layout.size)
    subject.add_episode([first, replace(second, source=Source.HUMAN)])
    assert subject.replay._prior.data[: len(subject.replay), 0].tolist() == [True] * 4 + [False] * 7 + [True]


def test_with_one_kind_of_data_all_comes_from_it() -> None:
    subject = learner()
    subject.add_episode(chunks(1, 3, subject.layout.size))
    subject.set_labels({1: FAILURE})
    assert prior_share(subject) == 0
    subject.add_episode([replace(t, source=Source.HUMAN) for t in chunks(2, 3, subject.layout.size)])
    subject.set_labels({1: LabelValue.DISCARD, 2: SUCCESS})
    assert prior_share(subject) == 1


def test_other_methods_draw_from_everything_alike() -> None:
    config = config_of("dsrl-sac").model_copy(update={"warmup_episodes": 1})
    subject = Learner(SPEC, "dsrl-sac", config, BimodalDecoder(), seed=0)
    for number in range(1, 11):
        subject.add_episode(chunks(number, 3, subject.layout.size))
    subject.set_labels(dict.fromkeys(range(1, 11), FAILURE))
    assert abs(prior_share(subject, 3000) - 0.1) < 0.03


def test_demonstrations_are_successes_and_cost_no_updates() -> None:
    subject = learner(utd=2.0)
    subject.add_demonstrations([demonstration(subject, number) for number in (1, 2)])
    subject.set_labels({})
    assert (subject.chunks, subject.owed, subject.version) == (0, 0, 0)
    assert subject.replay.sampleable == 6
    assert float(subject.replay._outcome[:, 0].sum()) == 2
    subject.add_episode(chunks(1, 3, subject.layout.size))
    subject.set_labels({1: FAILURE})
    assert subject.owed == 6
    assert subject.manifest()["chunks"] == 3
    assert subject.consumed == [1]


def test_demonstrations_come_first_and_are_numbered_below_0() -> None:
    subject = learner()
    with pytest.raises(SpecMismatch, match="below 0"):
        subject.add_demonstrations([chunks(1, 2, subject.layout.size)])
    subject.add_episode(chunks(1, 2, subject.layout.size))
    with pytest.raises(SpecMismatch, match="before the first episode"):
        subject.add_demonstrations([demonstration(subject, 1)])


def test_it_goes_on_bit_for_bit_with_its_demonstrations() -> None:
    whole, broken, resumed = (learner(utd=2.0) for _ in range(3))
    for subject in (whole, broken, resumed):
        subject.add_demonstrations([demonstration(subject, 1)])

    def feed(subject: Learner, first: int, last: int) -> None:
        for number in range(first, last + 1):
            subject.add_episode(chunks(number, 3, subject.layout.size))
            subject.set_labels({k: SUCCESS if k % 2 else FAILURE for k in range(1, number + 1)})
            subject.learn()

    feed(whole, 1, 4)
    feed(broken, 1, 2)
    for number in (1, 2):
        resumed.add_episode(chunks(number, 3, resumed.layout.size))
    resumed.restore({name: array.copy() for name, array in broken.state()[0].items()}, broken.state()[1])
    feed(resumed, 3, 4)
    first, second = whole.actor_arrays(), resumed.actor_arrays()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_critic_learns_on_what_was_executed_and_the_actor_on_its_own_chunk() -> None:
    subject = learner(residual_layout="per_step")
    subject.add_episode(chunks(1, 3, subject.layout.size))
    subject.set_labels({1: SUCCESS})
    batch, method = subject.replay.sample(5, torch.Generator().manual_seed(0)), subject._method
    steer = torch.rand(5, subject.layout.size) * 2 - 1
    assert torch.equal(method.taken(batch), batch.executed)  # type: ignore[attr-defined]
    assert torch.allclose(method.would(batch, steer, following=False), steer, atol=1e-6)  # type: ignore[attr-defined]
