"""ZPRL: values belong to the shifted latent, and three figures say whether lambda is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robot_rl.errors import SpecMismatch
from robot_rl.learn.learner import Learner
from robot_rl.types import LabelValue
from tests.learn.bandit import LATENT_SPEC, SPEC, BimodalDecoder, LatentDecoder, chunks, config_of


def learner(**changes: Any) -> Learner:
    config = config_of("zprl").model_copy(update={"warmup_episodes": 0, "hidden": 16, **changes})
    return Learner(LATENT_SPEC, "zprl", config, LatentDecoder(), seed=0)


def fed(**changes: Any) -> Learner:
    subject = learner(**changes)
    for number in range(1, 30):
        subject.add_episode(chunks(number, 3, subject.layout.size))
    subject.set_labels({number: LabelValue(("failure", "success")[number % 2]) for number in range(1, 30)})
    return subject


def test_the_critic_is_asked_about_the_latent_that_was_decoded() -> None:
    subject = learner(latent_scale=0.3)
    episode = chunks(1, 1, 2)
    subject.add_episode(episode)
    subject.set_labels({1: LabelValue.SUCCESS})
    batch = subject.replay.sample(4, torch.Generator().manual_seed(0))
    method: Any = subject._method
    only = episode[0]
    assert only.z is not None
    assert only.next_z is not None
    assert np.allclose(method.taken(batch)[0], only.z + 0.3 * only.steer, atol=1e-6)
    dz = torch.full((4, 2), -0.5)
    assert np.allclose(method.would(batch, dz, following=True)[0], only.next_z - 0.15, atol=1e-6)
    assert np.allclose(method.sees(batch, following=False)[0], np.concatenate([only.features, only.z]))


def test_the_figures_follow_lambda() -> None:
    small, large = fed(latent_scale=0.05), fed(latent_scale=1.0)
    for subject in (small, large):
        subject.learn(1)
    names = ("latent_rms_ratio", "latent_mahalanobis", "feature_shift")
    assert all(large.losses[name] > small.losses[name] > 0 for name in names)
    assert abs(small.losses["latent_rms_ratio"] - 0.05 * 0.63 / 0.3) < 0.04  # the bandit's z has a spread of 0.3
    assert small.losses["latent_mahalanobis"] < 2  # about sqrt(2) for the bottleneck's own z


def test_diagnosing_changes_nothing() -> None:
    first, second = fed(), fed()
    for subject, calls in ((first, [3, 3]), (second, [6])):
        for count in calls:
            subject.learn(count)
    assert np.array_equal(first.state()[0]["generator"], second.state()[0]["generator"])
    assert np.array_equal(first.state()[0]["actor.parameters"], second.state()[0]["actor.parameters"])


@pytest.mark.parametrize("field", ["z", "next_z"])
@pytest.mark.parametrize("value", [None, np.zeros(5, np.float32)])
def test_an_episode_without_its_latents_is_refused_by_name(field: str, value: Any) -> None:
    subject = learner()
    first, second = chunks(3, 2, 2)
    subject.add_episode([first, replace(second, **{field: value})])
    assert "episode 3" in subject.refused[3]
    assert len(subject.replay) == 0


def test_a_policy_without_a_bottleneck_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="bottleneck"):
        Learner(SPEC, "zprl", config_of("zprl"), LatentDecoder(), seed=0)


def test_a_decoder_that_cannot_show_the_feature_is_refused_by_name() -> None:
    with pytest.raises(SpecMismatch, match="reconstruct"):
        Learner(LATENT_SPEC, "zprl", config_of("zprl"), BimodalDecoder(), seed=0)
