"""The latent's axes are those that matter, in their order, and the policy is the same in them."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.policy.flow import TURN, FlowPolicy
from robot_rl.policy.latent_axes import turned
from robot_rl.types import Array, Context


def with_latent_turned_by(policy: FlowPolicy, turn: Array) -> FlowPolicy:
    first = "reconstruct.0.weight"
    weights = {**policy.weights, TURN: policy.turn @ turn, first: turn.T @ policy.weights[first]}
    return FlowPolicy(policy.spec, weights, policy.ode_steps)


def influence(policy: FlowPolicy) -> Array:
    """[Z] RMS of what a step of 0.05 along each entry of z does to a chunk, at latents of the prior."""
    rng, n, width = np.random.default_rng(5), 200, policy.spec.latent or 0
    z, noise = (rng.standard_normal((n, *shape)).astype(np.float32) for shape in ((width,), policy.spec.noise_shape))
    nowhere = Context(np.zeros((n, policy.spec.features), np.float32))
    half = np.subtract(policy.spec.action_space.high, policy.spec.action_space.low) / 2
    moved = [
        (policy.decode(nowhere, noise, z + step) - policy.decode(nowhere, noise, z - step)) / half
        for step in np.float32(0.05) * np.eye(width, dtype=np.float32)
    ]
    found: Array = np.sqrt([np.square(each).mean() for each in moved])
    return found


@pytest.fixture(scope="module")
def mixed_up(policy: FlowPolicy) -> FlowPolicy:
    """The same policy with its latent in axes that mean nothing."""
    width = policy.spec.latent or 0
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((width, width)))[0].astype(np.float32)
    return with_latent_turned_by(policy, turn)


@pytest.fixture(scope="module")
def found(mixed_up: FlowPolicy) -> FlowPolicy:
    return FlowPolicy(mixed_up.spec, turned(mixed_up.spec, mixed_up.weights, mixed_up.ode_steps), mixed_up.ode_steps)


def test_the_first_entries_move_the_chunk_most(found: FlowPolicy, mixed_up: FlowPolicy) -> None:
    energy, before = np.square(influence(found)), np.square(influence(mixed_up))
    assert set(np.argsort(-energy)[:2]) == {0, 1}
    assert energy[:4].sum() > 0.9 * energy.sum()
    assert before[:4].sum() < 0.6 * before.sum()


def test_a_cloned_policy_has_them(policy: FlowPolicy) -> None:
    energy = np.square(influence(policy))
    assert TURN in policy.weights
    assert energy[:4].sum() > 0.85 * energy.sum()


def test_the_turned_policy_acts_as_before(found: FlowPolicy, mixed_up: FlowPolicy) -> None:
    rng, n = np.random.default_rng(1), 50
    noise = rng.standard_normal((n, *found.spec.noise_shape)).astype(np.float32)
    features = rng.standard_normal((n, found.spec.features)).astype(np.float32)
    z = rng.standard_normal((n, found.spec.latent or 0)).astype(np.float32)
    between = mixed_up.turn.T @ found.turn
    assert np.allclose(between @ between.T, np.eye(len(between)), atol=1e-5)
    at = Context(features)
    assert np.array_equal(found.decode(at, noise), mixed_up.decode(at, noise))
    assert np.allclose(found.decode(at, noise, z @ between), mixed_up.decode(at, noise, z), atol=1e-6)
