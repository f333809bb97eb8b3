"""The k-NN entropy against entropies that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robot_rl.adapters.acting import BaseAdapter
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import BadAction
from robot_rl.learn.entropy import chunk_entropy, knn_entropy
from robot_rl.learn.learner import Learner
from robot_rl.types import Array, Context, Observation, PolicySpec
from tests.learn.bandit import SPEC, BimodalDecoder, config_of, run


def gaussian_entropy(covariance: Array) -> float:
    return 0.5 * math.log(np.linalg.det(2 * math.pi * math.e * covariance))


@pytest.mark.parametrize(("width", "tolerance"), [(1, 0.1), (2, 0.1), (4, 0.2)])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_it_is_that_of_a_gaussian(width: int, tolerance: float, k: int) -> None:
    rng = np.random.default_rng(width)
    mix = rng.standard_normal((width, width)) + 2 * np.eye(width)
    samples = rng.standard_normal((1500, width)) @ mix.T + 100
    assert abs(knn_entropy(samples, k) - gaussian_entropy(mix @ mix.T)) < tolerance


def test_it_is_that_of_a_uniform_box() -> None:
    samples = np.random.default_rng(0).uniform(0, 0.1, (2000, 2))
    assert abs(knn_entropy(samples) - 2 * math.log(0.1)) < 0.1


def test_scaling_adds_the_logarithm_of_the_volume() -> None:
    samples = np.random.default_rng(0).standard_normal((300, 3))
    assert math.isclose(knn_entropy(5 * samples) - knn_entropy(samples), 3 * math.log(5), abs_tol=1e-6)


def test_equal_samples_are_very_concentrated_but_finite() -> None:
    assert -1000 < knn_entropy(np.ones((20, 4))) < -50


@pytest.mark.parametrize("samples", [np.zeros((3, 2)), np.full((9, 2), np.nan)])
def test_too_few_samples_or_a_nan_are_refused(samples: Array) -> None:
    with pytest.raises(BadAction, match="samples"):
        knn_entropy(samples)


class Bandit:
    """The bandit's decoder as a frozen policy."""

    spec: PolicySpec = SPEC

    def encode(self, observations: list[Observation]) -> Context:
        raise NotImplementedError

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        # A little of every noise entry, so that chunks have a density; the side is the first step's.
        side = np.where(noise[:, :1, 1] > 0, 0.005, -0.005)
        chunk = 0.0005 * noise
        chunk[..., 1] += side
        return np.asarray(chunk, np.float32)


def test_steering_by_dsrl_costs_more_diversity_than_a_shift_within_its_trust_region() -> None:
    """LP-DS keeps the base noise; DSRL's actor narrows it down."""
    contexts = [Context(np.array([[x, 1.0, 0.0]], np.float32)) for x in (-0.5, 0.5)]
    rng = np.random.default_rng(0)
    base = chunk_entropy(Bandit(), BaseAdapter(SteeringLayout.plain(SPEC)), contexts, rng)
    entropies = {}
    for method in ("lp-ds", "dsrl-sac"):
        learner = Learner(SPEC, method, config_of(method, **NARROW.get(method, {})), BimodalDecoder(), seed=1)
        run(learner, 60, 0.0)
        entropies[method] = chunk_entropy(Bandit(), learner.adapter(), contexts, rng)
    assert entropies["lp-ds"] > base - 2.0
    assert entropies["dsrl-sac"] < entropies["lp-ds"] - 1.0


NARROW = {"dsrl-sac": {"target_entropy": -8.0, "initial_temperature": 0.02}}
