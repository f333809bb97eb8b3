"""LP-DS: a shift that starts at nothing, stays in its trust region, and keeps the base's spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robot_rl.adapters.lp_ds import LPDS, Multiplier
from robot_rl.learn.learner import Learner
from robot_rl.types import LabelValue
from tests.learn.bandit import SPEC, BimodalDecoder, chunks, config_of, run, success_rate

QUICK = {"warmup_episodes": 0, "hidden": 16, "batch": 32}


def learner(**changes: Any) -> Learner:
    return Learner(SPEC, "lp-ds", config_of("lp-ds").model_copy(update=changes), BimodalDecoder(), seed=1)


def half(subject: Learner) -> LPDS:
    assert isinstance(subject._method, LPDS)
    return subject._method


def test_it_starts_at_exactly_nothing() -> None:
    shift = half(learner()).actor(torch.randn(50, SPEC.features), frozen=True)
    assert not shift.any()


def test_the_multiplier_rises_outside_the_region_falls_inside_and_is_never_negative() -> None:
    multiplier = Multiplier(rate=0.1)
    assert multiplier.value == 0
    multiplier.step(torch.tensor(2.0))
    assert torch.allclose(multiplier.value, torch.tensor([0.2]))
    multiplier.step(torch.tensor(-1.0))
    assert torch.allclose(multiplier.value, torch.tensor([0.1]))
    multiplier.step(torch.tensor(-5.0))
    assert multiplier.value == 0


@pytest.mark.parametrize("region", [0.35, 4.0])
def test_the_dual_settles_at_its_target(region: float) -> None:
    """Where more shift is always better, the constraint binds: ||Delta||^2 comes to delta and stays."""
    subject = learner(trust_region=region, dual_rate=1e-2)
    run(subject, 40, 0.0)
    seen = []
    for _ in range(20):
        subject.learn(20)
        seen.append(subject.losses["shift_squared"])
    assert abs(np.mean(seen) / region - 1) < 0.15
    assert max(seen) / region < 1.4
    assert subject.losses["multiplier"] > 0
    assert np.isclose(subject.losses["shift_squared_per_dimension"] * 8, subject.losses["shift_squared"])


def test_a_larger_region_reaches_further() -> None:
    rates = []
    for region in (0.05, 4.0):
        subject = learner(trust_region=region, dual_rate=1e-3)
        run(subject, 60, 0.0)
        rates.append(success_rate(subject.adapter(), 0.0, 200))
    assert rates[0] < 0.75
    assert rates[1] > 0.85


def test_with_a_noise_critic_of_its_own_nothing_is_decoded_in_learning() -> None:
    class Refusing:
        def decode(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            raise AssertionError("critic: td needs no decoder")

    config = config_of("lp-ds").model_copy(update={**QUICK, "critic": "td", "pool": 0})
    subject = Learner(SPEC, "lp-ds", config, Refusing(), seed=0)
    subject.add_episode(chunks(1, 3, subject.layout.size))
    subject.set_labels({1: LabelValue.SUCCESS})
    assert subject.learn(3) == 3
    assert "distill_loss" not in subject.losses
    assert "action" not in half(subject).modules()


def test_there_is_no_entropy_term() -> None:
    subject = learner(**QUICK)
    subject.add_episode(chunks(1, 3, subject.layout.size))
    subject.set_labels({1: LabelValue.SUCCESS})
    subject.learn(2)
    assert {"entropy", "temperature"}.isdisjoint(subject.losses)
    assert "temperature" not in half(subject).modules()
