"""USR learns what it is for: to choose a mode and to correct it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from robot_rl.learn.learner import Learner
from robot_rl.types import LabelValue
from tests.learn.bandit import SPEC, WITH_RESIDUAL, A, BimodalDecoder, chunks, run, success_rate

HEIGHT = 0.001
"""m: an error that no noise can correct and the residual can."""


@pytest.fixture(scope="module")
def trained() -> Learner:
    """After 60 episodes."""
    learner = Learner(SPEC, "usr", WITH_RESIDUAL, BimodalDecoder(), seed=1)
    run(learner, 60, HEIGHT)
    return learner


def test_it_chooses_the_mode_and_corrects_the_height(trained: Learner) -> None:
    untrained = Learner(SPEC, "usr", WITH_RESIDUAL, BimodalDecoder(), seed=1)
    assert success_rate(untrained.adapter(), HEIGHT) < 0.1
    assert success_rate(trained.adapter(), HEIGHT) > 0.8


class TiledDecoder:
    """Noise [B, T, A] -> a chunk of the same shape, for any T."""

    def decode(self, features: Tensor, noise: Tensor) -> Tensor:
        return 0.005 * noise.tanh() + 0.001 * features[:, :1, None]


@settings(max_examples=12, deadline=None)
@given(
    horizon=st.integers(1, 6),
    noise=st.sampled_from(["full", "repeat"]),
    residual=st.sampled_from(["none", "constant", "per_step"]),
    critics=st.integers(1, 4),
    reduce=st.sampled_from(["min", "mean"]),
    pool=st.sampled_from([0, 3]),
    bootstrap=st.sampled_from(["decode", "distilled"]),
)
def test_every_setting_learns_without_a_number_that_is_not_finite(horizon: int, pool: int, **choices: Any) -> None:
    spec = replace(SPEC, horizon=horizon, noise_shape=(horizon, A))
    config = WITH_RESIDUAL.model_copy(
        update={
            "noise_layout": choices["noise"],
            "residual_layout": choices["residual"],
            "critics": choices["critics"],
            "critic_reduce": choices["reduce"],
            "bootstrap": choices["bootstrap"],
            "pool": pool,
            "distill_steps": 2,
            "entropy_in_target": True,
            "hidden": 16,
            "warmup_episodes": 0,
        }
    )
    learner = Learner(spec, "usr", config, TiledDecoder(), seed=0)
    transitions = [
        replace(t, executed_chunk=np.zeros((horizon, A), np.float32)) for t in chunks(1, 4, learner.layout.size)
    ]
    learner.add_episode(transitions)
    learner.set_labels({1: LabelValue.SUCCESS})
    assert learner.learn(3) == 3
    assert not learner.refused
    assert all(np.isfinite(value) for value in learner.losses.values())


@pytest.mark.parametrize("bootstrap", ["decode", "distilled"])
def test_a_terminal_chunk_does_not_look_at_the_next_state(bootstrap: str) -> None:
    """With one-chunk episodes the value of the next state is never used: other next features, the same critic."""
    config = WITH_RESIDUAL.model_copy(update={"warmup_episodes": 0, "bootstrap": bootstrap})

    def critic(scale: float) -> Tensor:
        learner = Learner(SPEC, "usr", config, BimodalDecoder(), seed=0)
        transitions = chunks(1, 1, learner.layout.size)
        learner.add_episode([replace(transitions[0], next_features=scale * transitions[0].next_features)])
        learner.set_labels({1: LabelValue.SUCCESS})
        learner.learn(5)
        return torch.from_numpy(learner.state()[0]["critic.parameters"].copy())

    assert torch.equal(critic(1.0), critic(2.0))


def test_the_combined_critic_follows_the_environment_critic(trained: Learner) -> None:
    """After learning they agree on steers drawn as in eq. 7."""
    method, steering = trained._method, trained._steering
    generator = torch.Generator().manual_seed(0)
    features = torch.cat([torch.rand(400, 1, generator=generator) * 2 - 1, torch.ones(400, 1), torch.zeros(400, 1)], 1)
    steer = torch.cat([steering.draw_noise(400, generator), torch.rand(400, 1, generator=generator) * 2 - 1], 1)
    with torch.no_grad():
        distilled = method._distilled(torch.cat([features, steer], 1)).mean(0)[:, 0]  # type: ignore[attr-defined]
        chunk = steering.act(features, steer)
        taught = method._critic(torch.cat([features, chunk], 1)).mean(0)[:, 0]  # type: ignore[attr-defined]
    assert torch.corrcoef(torch.stack([distilled, taught]))[0, 1] > 0.75
