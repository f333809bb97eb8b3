"""An oracle takes the chunk of its interface that is nearest to a way, on a decoder that is linear."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.studies.two_modes import SPACE, A, T
from robot_rl.authority.interface import Interface, way_map
from robot_rl.authority.oracle import Oracle
from robot_rl.types import Array
from tests.authority.bandit import MIDDLE, LinearPolicy, contexts, interface

WAY = way_map(SPACE, T)
SEEN: Any = SimpleNamespace(seq=0)


class Wanting:
    """A guide that wants the same ways wherever it is."""

    is_guide = True

    def __init__(self, *ways: Array) -> None:
        self._ways = np.array(ways)

    def plan(self, observation: object, horizon: int) -> Array:
        return self._ways


def chunk_of(of: Interface, *ways: Array, seed: int = 0, **settings: Any) -> Array:
    guide: Any = Wanting(*ways)
    return Oracle(of, LinearPolicy(), guide, np.random.default_rng(seed), **settings)(SEEN, contexts(1)[0])


def distance(chunk: Array, way: Array) -> float:
    return float(np.linalg.norm((chunk - way).reshape(-1) @ WAY))


def wanted(rng: np.random.Generator) -> Array:
    chunk = (MIDDLE.reshape(T, A) + rng.uniform(-0.003, 0.003, (T, A))).astype(np.float64)
    return chunk


def test_the_way_of_a_chunk_is_where_its_steps_have_led() -> None:
    chunk = np.random.default_rng(0).uniform(-1, 1, (T, A))
    expected = np.concatenate([np.cumsum(chunk[:, :3], 0), chunk[:, 3:]], 1)
    np.testing.assert_allclose((chunk.reshape(-1) @ WAY).reshape(T, A), expected)


@pytest.mark.parametrize("method", ["residual-rl", "rlpd"])
@pytest.mark.parametrize("blind", [False, True])
def test_an_unbounded_residual_is_on_the_way_but_for_what_a_blind_one_cannot_know(method: str, blind: bool) -> None:
    way = wanted(np.random.default_rng(0))
    off = distance(chunk_of(interface(method, residual_layout="per_step"), way, blind=blind), way)
    if method == "residual-rl" and blind:
        assert 1e-5 < off < 5e-3
    else:
        assert off < 1e-5


def test_a_bounded_residual_is_the_least_squares_one() -> None:
    """A constant residual whose bound does not bind: the best row is known in closed form."""
    bound = (0.009, 0.009, 0.009, 0.009)
    of = interface("policy-decorator", residual_layout="constant", residual_scale=bound)
    way = wanted(np.random.default_rng(1))
    found = chunk_of(of, way)
    rows = np.tile(np.eye(A), (1, T)) @ WAY
    left = (way - found).reshape(-1) @ WAY
    np.testing.assert_allclose(rows @ left, 0, atol=1e-8)  # normal equations


def test_a_small_residual_goes_to_its_bound() -> None:
    bound = (0.0001, 0.0001, 0.0001, 0.0)
    of = interface("policy-decorator", residual_layout="constant", residual_scale=bound)
    far = np.tile([0.005, -0.005, 0.005, 0.04], (T, 1))
    base = chunk_of(interface("policy-decorator", residual_layout="constant", residual_scale=(1e-9,) * 4), far)
    np.testing.assert_allclose((chunk_of(of, far) - base)[0], [0.0001, -0.0001, 0.0001, 0.0], atol=1e-7)


def test_searching_noise_comes_nearer_than_its_first_candidates() -> None:
    of = interface("dsrl-na")
    noise = np.random.default_rng(2).standard_normal((1, T, A))
    way = LinearPolicy().decode(contexts(1)[0], noise)[0].astype(np.float64)
    once, refined = (
        np.mean([distance(chunk_of(of, way, seed=seed, rounds=rounds), way) for seed in range(5)]) for rounds in (1, 4)
    )
    assert refined < 0.7 * once


@pytest.mark.parametrize("method", ["usr", "dsrl-na", "zprl", "lp-ds"])
def test_a_steer_lies_in_its_box_and_ball(method: str) -> None:
    residual = {"residual_layout": "constant", "residual_scale": (0.001, 0.0, 0.0, 0.0)} if method == "usr" else {}
    of = interface(method, **residual)
    guide: Any = Wanting(wanted(np.random.default_rng(3)))
    oracle = Oracle(of, LinearPolicy(), guide, np.random.default_rng(0))
    goals = guide.plan(None, T).reshape(1, -1) @ WAY
    steer = oracle._search(contexts(1)[0], of.draw_base(np.random.default_rng(0), 1), goals)
    assert steer.shape == (of.layout.size,)
    assert np.abs(steer).max() <= 1
    assert np.linalg.norm(steer[of.layout.noise_part]) <= of.radius + 1e-6


def test_it_takes_the_nearer_of_two_ways() -> None:
    near, far = np.tile([0.002, 0, 0, 0.04], (T, 1)), np.tile([-0.009, 0, 0, 0.04], (T, 1))
    of = interface("policy-decorator", residual_layout="constant", residual_scale=(0.006,) * 4)
    for ways in ((near, far), (far, near)):
        assert distance(chunk_of(of, *ways), near) < 0.002


def test_a_blind_oracle_does_not_see_the_noise_that_it_is_executed_with() -> None:
    """Its residual is the same whatever the base draws afterwards; one that sees makes up for the draw."""
    of = interface("policy-decorator", residual_layout="per_step", residual_scale=(0.01, 0.01, 0.01, 0.01))
    way = np.tile([0.0, 0, 0, 0.04], (T, 1))
    seeing, blind = (
        np.mean([distance(chunk_of(of, way, seed=seed, blind=blind), way) for seed in range(20)])
        for blind in (False, True)
    )
    assert seeing < 0.01 * blind


def test_the_base_draws_after_a_blind_oracle_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Averaging over a single draw, it would be exactly on the way if that were the one that is executed."""
    monkeypatch.setattr("robot_rl.authority.oracle.BLIND_DRAWS", 1)
    of = interface("policy-decorator", residual_layout="per_step", residual_scale=(0.01,) * 4)
    way = np.tile([0.0, 0, 0, 0.04], (T, 1))
    assert distance(chunk_of(of, way), way) < 1e-5
    assert distance(chunk_of(of, way, blind=True), way) > 1e-4
