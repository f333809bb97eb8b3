"""Reach on a decoder that is linear, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies.two_modes import SPACE, T
from robot_rl.authority.interface import Interface, displacement_map
from robot_rl.authority.reach import Reach, measure_reach
from robot_rl.types import Array
from tests.authority.bandit import LATENT_MAP, LINEAR_SPEC, NOISE_MAP, LinearTrace, contexts, interface

DISPLACEMENT = displacement_map(SPACE, T)


def reach(of: Interface) -> Reach:
    return measure_reach(of, LinearTrace(), contexts(4), np.random.default_rng(0))


def corner(linear: Array) -> Array:
    """[A, 2]: a linear form [n, A] over the box [-1, 1]^n, at its two best corners."""
    return np.abs(linear).sum(0)[:, None].repeat(2, 1)


def test_a_residual_reaches_its_bound_times_the_horizon_exactly() -> None:
    alpha = (0.001, 0.002, 0.0, 0.003)
    found = reach(interface("policy-decorator", residual_layout="constant", residual_scale=alpha))
    expected = 1000 * np.array(alpha) * [T, T, T, 1]  # the gripper is absolute: it does not add up
    np.testing.assert_allclose(found.most, expected[:, None].repeat(2, 1), rtol=1e-6)
    assert found.per_dimension == pytest.approx(np.diag(expected)[[0, 1, 3]], rel=1e-5)
    assert (found.fresh < expected + 1e-9).all()
    assert found.fresh[0] == pytest.approx(0.628 * expected[0], rel=0.2)  # RMS of tanh(N(0, 1))


def test_a_bolder_residual_begins_larger() -> None:
    common = {"residual_layout": "constant", "residual_scale": (0.001, 0.001, 0.001, 0.0)}
    timid, bold = (reach(interface("policy-decorator", **common, residual_std=std)) for std in (0.1, 2.0))
    assert (timid.fresh[:3] < 0.2 * bold.fresh[:3]).all()
    assert np.array_equal(timid.most, bold.most)


@pytest.mark.parametrize("layout", ["full", "repeat", "low_rank"])
def test_noise_reaches_the_corner_of_its_box(layout: str) -> None:
    settings = {"noise_rank": 3} if layout == "low_rank" else {}
    of = interface("dsrl-na", noise_layout=layout, noise_bound=1.25, **settings)
    found = reach(of)
    np.testing.assert_allclose(found.most, corner(of.layout.noise_map @ NOISE_MAP @ DISPLACEMENT), rtol=1e-3)


def test_noise_and_residual_add_up() -> None:
    residual = {"residual_layout": "per_step", "residual_scale": (0.001, 0.0, 0.002, 0.0)}
    both, noise = reach(interface("usr", **residual)), reach(interface("dsrl-na"))
    np.testing.assert_allclose(both.most - noise.most, [[2.0, 2.0], [0, 0], [4.0, 4.0], [0, 0]], rtol=1e-4, atol=1e-4)


def test_a_latent_reaches_lambda_times_what_its_entries_do() -> None:
    found = reach(interface("zprl", latent_scale=0.4))
    np.testing.assert_allclose(found.most, corner(0.4 * LATENT_MAP @ DISPLACEMENT), rtol=1e-3)


def test_a_trust_region_is_a_ball() -> None:
    """Of radius sqrt(delta) in units of the noise, and the box beyond it does not count."""
    of = interface("lp-ds", noise_layout="full", trust_region=0.49)
    found = reach(of)
    expected = 0.7 * np.linalg.norm(NOISE_MAP @ DISPLACEMENT, axis=0)[:, None].repeat(2, 1)
    np.testing.assert_allclose(found.most, expected, rtol=2e-3)
    assert not found.fresh.any(), "Delta begins at 0"


def test_the_whole_chunk_reaches_the_action_range() -> None:
    found = reach(interface("rlpd"))
    np.testing.assert_allclose(found.most, np.array([10.0 * T] * 3 + [40.0])[:, None].repeat(2, 1), rtol=1e-6)


def test_displacements_are_relative_to_steer_zero() -> None:
    """Where the base goes by itself (its features, its noise) is no reach."""
    found = reach(interface("policy-decorator", residual_layout="constant", residual_scale=(0.0, 0.0, 1e-9, 0.0)))
    assert found.most.max() == pytest.approx(2e-6, rel=1e-3)
    assert LINEAR_SPEC.horizon == T
