"""Latents in figures, against what is known of Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.adapters.latent import FRESH_RMS, ledoit_wolf, mahalanobis, rms, scale_by_rms
from robot_rl.errors import BadObservation
from robot_rl.types import Array


def gaussian(count: int, width: int, seed: int = 0) -> tuple[Array, Array]:
    """Samples, and their true covariance."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((width, width)) + 2 * np.sqrt(width) * np.eye(width)
    return rng.standard_normal((count, width)) @ mix.T + 3.0, mix @ mix.T


@given(share=st.floats(0.05, 0.5), spread=st.floats(0.01, 10))
def test_the_scale_makes_the_shift_the_share_of_z(share: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    z, dz = spread * rng.standard_normal((500, 16)), np.tanh(rng.standard_normal((4000, 16)))
    assert abs(rms(dz) - FRESH_RMS) < 0.005
    assert abs(rms(scale_by_rms(z, share) * dz) / rms(z) - share) < 0.01 * share + 1e-9


@pytest.mark.parametrize("z", [np.zeros((0, 4)), np.zeros((3, 4)), np.full((3, 4), np.nan)])
def test_a_scale_for_no_latents_is_refused(z: Array) -> None:
    with pytest.raises(BadObservation, match="latents"):
        scale_by_rms(z)


def test_many_samples_are_hardly_shrunk() -> None:
    samples, truth = gaussian(20_000, 6)
    mean, covariance, shrinkage = ledoit_wolf(samples)
    assert 0 <= shrinkage < 0.01
    assert np.allclose(mean, 3, atol=0.1)
    assert np.linalg.norm(covariance - truth) < 0.05 * np.linalg.norm(truth)


@settings(max_examples=20)
@given(count=st.integers(2, 30), seed=st.integers(0, 50))
def test_shrinkage_comes_nearer_to_the_truth_and_keeps_the_trace(count: int, seed: int) -> None:
    samples, _ = gaussian(count, 8, seed)
    _, covariance, shrinkage = ledoit_wolf(samples)
    assert 0 <= shrinkage <= 1
    assert np.isclose(np.trace(covariance), np.trace(np.cov(samples.T, bias=True)))
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_the_shrinkage_is_the_formula_written_out() -> None:
    samples, _ = gaussian(9, 4)
    x = samples - samples.mean(0)
    plain = sum(np.outer(row, row) for row in x) / len(x)
    target = np.trace(plain) / 4 * np.eye(4)
    d = ((plain - target) ** 2).sum() / 4
    b = sum(((np.outer(row, row) - plain) ** 2).sum() for row in x) / len(x) ** 2 / 4
    _, covariance, shrinkage = ledoit_wolf(samples)
    assert np.isclose(shrinkage, min(b, d) / d)
    assert np.allclose(covariance, (1 - shrinkage) * plain + shrinkage * target)


def test_few_samples_of_independent_entries_are_better_shrunk() -> None:
    samples = np.random.default_rng(0).standard_normal((12, 10))
    _, covariance, shrinkage = ledoit_wolf(samples)
    assert shrinkage > 0.5
    assert np.linalg.norm(covariance - np.eye(10)) < 0.5 * np.linalg.norm(np.cov(samples.T) - np.eye(10))


def test_the_distance_of_a_gaussians_own_points_is_that_of_its_dimensions() -> None:
    samples, _ = gaussian(4000, 16)
    mean, covariance, _ = ledoit_wolf(samples)
    distances = mahalanobis(samples, mean, covariance)
    assert distances.shape == (4000,)
    assert abs(np.square(distances).mean() - 16) < 0.5
    away = mahalanobis(samples + 10 * np.sqrt(np.diag(covariance)), mean, covariance)
    assert away.mean() > 2 * distances.mean()
