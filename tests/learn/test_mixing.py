"""Prior and online data by ratio, in every method: what a batch is made of, and who can learn from an expert."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.learn.learner import METHODS, Learner
from robot_rl.task_files import method_config
from robot_rl.types import LabelValue
from tests.learn.bandit import chunks, config_of, decoder_of, spec_of

FAILURE = LabelValue.FAILURE
FROM_CHUNKS = ("usr", "dsrl-na", "lp-ds", "rlpd")
"""Methods whose critic judges what was executed: they can learn from an expert."""


def learner(method: str, **changes: Any) -> Learner:
    config = config_of(method, **changes).model_copy(update={"warmup_episodes": 1, "hidden": 16, "batch": 32})
    return Learner(spec_of(method), method, config, decoder_of(method), seed=0)


def shares(subject: Learner, size: int = 200) -> tuple[float, int]:
    """Of a batch: how much is prior data, and how many episodes it comes from."""
    index = subject.replay._draw(size, torch.Generator().manual_seed(0))
    return float(subject.replay._prior.data[index].float().mean()), len(torch.unique(index // 3))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_mixes_its_warm_up_and_what_came_after_by_ratio(method: str) -> None:
    subject = learner(method, prior_share=0.25)
    for number in range(1, 21):
        subject.add_episode(chunks(number, 3, subject.layout.size))
    assert not subject.refused
    subject.set_labels(dict.fromkeys(range(1, 21), FAILURE))
    assert shares(subject) == (0.25, 20)
    assert subject.learn(2) == 2


@pytest.mark.parametrize("method", FROM_CHUNKS)
def test_demonstrations_are_prior_data_of_every_method_that_learns_from_executed_chunks(method: str) -> None:
    subject = learner(method, prior_share=0.5, demonstrations="demos.npz")
    subject.add_demonstrations([[replace(t, episode=-1) for t in chunks(1, 3, subject.layout.size)]])
    subject.add_episode(chunks(1, 3, subject.layout.size))
    for number in range(2, 8):
        subject.add_episode(chunks(number, 3, subject.layout.size))
    subject.set_labels(dict.fromkeys(range(1, 8), FAILURE))
    assert shares(subject) == (0.5, 8)
    assert subject.learn(2) == 2


@pytest.mark.parametrize("method", [name for name in METHODS if name not in FROM_CHUNKS])
def test_a_method_that_needs_to_know_what_was_decided_takes_no_demonstrations(method: str) -> None:
    with pytest.raises(ConfigError, match=f"demonstrations: {method} does not read this setting"):
        method_config(method, demonstrations="demos.npz")


def test_a_critic_of_steers_takes_none_either() -> None:
    with pytest.raises(ConfigError, match="an expert has none"):
        method_config("lp-ds", critic="td", demonstrations="demos.npz")


def test_without_a_share_a_checkpoint_of_before_there_was_one_is_gone_on_from() -> None:
    subject, resumed, mixing = learner("usr"), learner("usr"), learner("usr", prior_share=0.25)
    for each in (subject, resumed, mixing):
        each.add_episode(chunks(1, 3, each.layout.size))
    arrays, manifest = subject.state()
    manifest = {**manifest, "config": {**manifest["config"], "prior_share": 0.5}}
    resumed.restore(arrays, manifest)
    with pytest.raises(SpecMismatch, match="checkpoint config"):
        mixing.restore(arrays, manifest)
