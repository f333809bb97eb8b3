"""What steer vectors mean, for every layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.errors import BadAction, SpecMismatch
from tests.learn.bandit import SPEC, A, T

ALPHA = (0.001, 0.0, 0.002, 0.0)


def layout(horizon: int = T, **settings: Any) -> SteeringLayout:
    spec = replace(SPEC, horizon=horizon, noise_shape=(horizon, A))
    return SteeringLayout(spec, MethodConfig(**settings))


@given(
    horizon=st.integers(1, 9),
    noise=st.sampled_from(["full", "repeat"]),
    residual=st.sampled_from(["none", "constant", "per_step"]),
    bound=st.floats(0.5, 2.0),
)
def test_split_has_the_policys_shapes_and_stays_within_the_bounds(
    horizon: int, noise: str, residual: str, bound: float
) -> None:
    steering = layout(horizon, noise_layout=noise, noise_bound=bound, residual_layout=residual, residual_scale=ALPHA)
    steer = np.random.default_rng(0).uniform(-1, 1, (5, steering.size)).astype(np.float32)
    w, added = steering.split(steer)
    assert w.shape == (5, horizon, A)
    assert added.shape == (5, horizon, A)
    assert w.dtype == added.dtype == np.float32
    assert np.abs(w).max() <= bound * 1.0001
    assert (np.abs(added) <= np.asarray(ALPHA) * 1.0001).all()
    assert steering.noise_size == (horizon * A if noise == "full" else A)
    assert steering.residual_size == {"none": 0, "constant": 2, "per_step": 2 * horizon}[residual]


def test_full_noise_is_the_steer_times_the_bound() -> None:
    steering = layout(noise_bound=1.5)
    steer = np.linspace(-1, 1, T * A, dtype=np.float32)[None]
    assert np.array_equal(steering.split(steer)[0].ravel(), (steer * np.float32(1.5)).ravel())


def test_repeated_noise_is_the_same_in_every_step() -> None:
    steering = layout(horizon=5, noise_layout="repeat", noise_bound=2.0)
    steer = np.array([[0.1, -0.2, 0.3, -0.4]], np.float32)
    assert np.allclose(steering.split(steer)[0], np.broadcast_to(2 * steer[:, None], (1, 5, A)))


def test_a_constant_residual_is_alpha_in_every_step() -> None:
    steering = layout(residual_layout="constant", residual_scale=ALPHA)
    steer = np.zeros((1, steering.size), np.float32)
    steer[0, -2:] = [1.0, -0.5]
    assert np.allclose(steering.split(steer)[1][0], np.tile([0.001, 0, -0.001, 0], (T, 1)))


def test_a_per_step_residual_moves_its_own_step_only() -> None:
    steering = layout(residual_layout="per_step", residual_scale=ALPHA)
    steer = np.zeros((1, steering.size), np.float32)
    steer[0, -1] = 1.0
    assert np.allclose(steering.split(steer)[1][0], np.diag([0, 0.002])[:, [0, 0, 1, 0]])


@pytest.mark.parametrize("noise_layout", ["full", "repeat"])
def test_noise_steer_undoes_split_also_beyond_the_bound(noise_layout: str) -> None:
    steering = layout(noise_layout=noise_layout, noise_bound=0.7)
    steer = np.random.default_rng(1).normal(0, 2, (3, steering.size)).astype(np.float32)
    assert np.allclose(steering.noise_steer(steering.split(steer)[0]), steer, atol=1e-6)


def test_noise_that_differs_from_step_to_step_has_no_repeated_steer() -> None:
    with pytest.raises(SpecMismatch, match="full"):
        layout(noise_layout="repeat").noise_steer(np.random.default_rng(0).normal(size=(1, T, A)))


def test_normalise_maps_the_action_space_to_one() -> None:
    steering = layout()
    low, high = (
        np.tile(np.array(bound, np.float32), (1, T, 1)) for bound in (SPEC.action_space.low, SPEC.action_space.high)
    )
    assert np.allclose(steering.normalise(low), -1)
    assert np.allclose(steering.normalise(high), 1)


def test_plain_is_untied_noise_without_bound_or_residual() -> None:
    steering = SteeringLayout.plain(SPEC)
    assert steering.size == T * A
    assert np.array_equal(steering.noise_map, np.eye(T * A))


def test_a_residual_scale_of_the_wrong_length_names_the_actions() -> None:
    with pytest.raises(SpecMismatch, match="dx, dy, dz, gripper"):
        layout(residual_layout="constant", residual_scale=(0.001,))


def test_a_policy_without_noise_is_refused() -> None:
    with pytest.raises(SpecMismatch, match="no noise"):
        SteeringLayout(replace(SPEC, noise_shape=()), MethodConfig())


def test_a_steer_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(BadAction, match=r"\[B, 8\]"):
        layout().split(np.zeros((1, 7), np.float32))


@given(horizon=st.integers(1, 6), rank=st.integers(1, 4), seed=st.integers(0, 3))
def test_low_rank_noise_has_orthogonal_directions_and_the_norm_of_full_noise(
    horizon: int, rank: int, seed: int
) -> None:
    steering = layout(horizon, noise_layout="low_rank", noise_rank=rank, noise_seed=seed, noise_bound=1.0)
    gram = steering.noise_map @ steering.noise_map.T
    assert np.allclose(gram, np.eye(rank) * horizon * A / rank, atol=1e-4)
    assert steering.noise_size == rank
    steer = np.random.default_rng(0).normal(size=(3, rank)).astype(np.float32)
    assert np.allclose(steering.noise_steer(steering.split(steer)[0]), steer, atol=1e-4)


def test_the_low_rank_basis_is_fixed_by_its_seed() -> None:
    first, again, other = (layout(noise_layout="low_rank", noise_rank=3, noise_seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.noise_map, again.noise_map)
    assert not np.allclose(first.noise_map, other.noise_map)


def test_noise_outside_the_low_rank_has_no_steer() -> None:
    with pytest.raises(SpecMismatch, match="full"):
        layout(noise_layout="low_rank", noise_rank=2).noise_steer(np.random.default_rng(0).normal(size=(1, T, A)))


def test_more_directions_than_the_noise_has_are_refused() -> None:
    with pytest.raises(SpecMismatch, match="noise_rank: expected at most 8"):
        layout(noise_layout="low_rank", noise_rank=9)


def test_noise_that_is_not_steered_takes_no_dimension() -> None:
    steering = layout(noise_layout="none", residual_layout="constant", residual_scale=ALPHA)
    assert (steering.noise_size, steering.residual_size, steering.size) == (0, 2, 2)


def test_the_full_residual_is_half_the_action_range() -> None:
    steering = layout(noise_layout="none", residual_layout="per_step", residual_scale="full")
    assert np.allclose(steering.split(np.ones((1, T * A), np.float32))[1][0], [0.01, 0.01, 0.01, 0.04])


def test_a_latent_is_shifted_by_lambda() -> None:
    spec = replace(SPEC, latent=3)
    steering = SteeringLayout(spec, MethodConfig(noise_layout="none", latent_scale=0.25))
    assert steering.size == steering.latent_size == 3
    assert np.allclose(steering.latent_shift(np.array([[1.0, -1.0, 0.5]])), [[0.25, -0.25, 0.125]])


def test_a_latent_of_some_rank_is_shifted_in_its_first_entries() -> None:
    spec = replace(SPEC, latent=3)
    steering = SteeringLayout(spec, MethodConfig(noise_layout="none", latent_scale=0.25, latent_rank=2))
    assert steering.size == steering.latent_size == 2
    assert np.allclose(steering.latent_shift(np.array([[1.0, -1.0]])), [[0.25, -0.25, 0.0]])
    with pytest.raises(SpecMismatch, match="latent_rank: expected at most 3"):
        SteeringLayout(spec, MethodConfig(noise_layout="none", latent_scale=0.25, latent_rank=4))


def test_a_policy_without_a_bottleneck_has_no_latent_to_steer() -> None:
    with pytest.raises(SpecMismatch, match="bottleneck"):
        layout(latent_scale=0.2)


def test_the_plain_layout_of_a_policy_without_noise_steers_nothing() -> None:
    assert SteeringLayout.plain(replace(SPEC, noise_shape=())).size == 0
