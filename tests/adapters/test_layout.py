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
