"""The soft actor-critic arithmetic against torch's own distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.learn.sac import Actor, Temperature, critic, reduce, regression, td_target
from tests.learn.bandit import SPEC

CONFIG = MethodConfig(
    hidden=16, layers=2, noise_layout="repeat", residual_layout="constant", residual_scale=(0.0, 0.0, 0.002, 0.0)
)
LAYOUT = SteeringLayout(SPEC, CONFIG)
ONE = torch.ones(1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_log_probability_is_that_of_the_squashed_gaussian() -> None:
    actor = Actor(3, LAYOUT, CONFIG, generator())
    actor.network.flat.add_(torch.randn(actor.network.flat.shape, generator=generator()) * 0.1)
    features = torch.randn(50, 3, generator=generator())
    steer, log_prob = actor.sample(features, generator(), frozen=True)
    mean, log_std = actor.distribution(features, frozen=True)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])
    inside = steer.abs().amax(1) < 0.999  # the reference loses its digits near 1
    assert inside.sum() > 25
    assert torch.allclose(squashed.log_prob(steer)[inside].sum(-1), log_prob[inside], atol=2e-3)


def test_the_actor_starts_at_mean_zero_and_unit_spread() -> None:
    mean, log_std = Actor(3, LAYOUT, CONFIG, generator()).distribution(torch.randn(20, 3, generator=generator()))
    assert mean.abs().max() < 0.1
    assert log_std.abs().max() < 0.1


def test_a_residual_may_start_timidly_while_the_noise_does_not() -> None:
    config = CONFIG.model_copy(update={"residual_std": 0.3})
    _, log_std = Actor(3, LAYOUT, config, generator()).distribution(torch.randn(20, 3, generator=generator()))
    noise, residual = log_std.exp().split([LAYOUT.noise_size, LAYOUT.residual_size], dim=1)
    assert torch.allclose(noise, torch.ones_like(noise), atol=0.1)
    assert torch.allclose(residual, torch.full_like(residual, 0.3), atol=0.05)


@pytest.mark.parametrize(("log_prob", "rises"), [(3.0, True), (-3.0, False)])
def test_the_temperature_rises_when_the_entropy_is_below_its_target(log_prob: float, rises: bool) -> None:
    temperature = Temperature(MethodConfig(target_entropy=0.0, initial_temperature=0.1))
    temperature.step(torch.full((8,), log_prob))
    assert (float(temperature.value) > 0.1) is rises
    assert math.isclose(float(temperature.value), 0.1, rel_tol=0.01)


def test_the_target_is_the_reward_alone_when_done() -> None:
    config = MethodConfig(clip_targets=False)
    assert td_target(ONE, 0.9 * ONE, ONE, 5 * ONE, config) == 1
    assert torch.allclose(td_target(0 * ONE, 0.9 * ONE, 0 * ONE, 5 * ONE, config), 4.5 * ONE)


@pytest.mark.parametrize(("value", "expected"), [(5.0, 1.0), (-5.0, 0.0), (0.5, 0.45)])
def test_clipped_targets_are_returns_that_can_occur(value: float, expected: float) -> None:
    y = td_target(0 * ONE, 0.9 * ONE, 0 * ONE, value * ONE, MethodConfig(clip_targets=True))
    assert torch.allclose(y, torch.tensor(expected))


def test_values_are_reduced_over_the_members() -> None:
    q = torch.tensor([[[1.0], [2.0]], [[3.0], [0.0]]])
    assert reduce(q, MethodConfig(critic_reduce="min")).tolist() == [1.0, 0.0]
    assert reduce(q, MethodConfig(critic_reduce="mean")).tolist() == [2.0, 1.0]


def test_regression_sums_members_and_averages_the_batch() -> None:
    q = torch.tensor([[[1.0], [2.0]], [[3.0], [0.0]]])
    assert regression(q, torch.zeros(2)) == (1 + 4) / 2 + (9 + 0) / 2
    assert regression(q, q) == 0


def test_a_critic_has_the_members_it_was_asked_for() -> None:
    assert critic(7, MethodConfig(critics=5, hidden=8), generator())(torch.zeros(3, 7)).shape == (5, 3, 1)
