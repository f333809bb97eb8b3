"""Each kind of adapter does what every adapter must, and what it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_rl.adapters.acting import BaseAdapter, SteeringAdapter, make_adapter
from robot_rl.adapters.kinds import ChunkAdapter, LatentAdapter, PerturbationAdapter
from robot_rl.errors import BadObservation, SpecMismatch
from robot_rl.learn.learner import METHODS, Learner
from robot_rl.protocols import Adapter
from robot_rl.testing.adapter import AdapterConformance
from robot_rl.types import Array, Context, PolicySpec, Steering
from tests.learn.bandit import A, T, chunks, config_of, decoder_of, spec_of

CONTEXT = Context(np.array([[0.3, 1.0, -0.7]], np.float32), np.array([[0.4, -0.2]], np.float32))
KINDS = {"zprl": LatentAdapter, "lp-ds": PerturbationAdapter, "rlpd": ChunkAdapter}


def learner(method: str, **changes: Any) -> Learner:
    config = config_of(method).model_copy(update={"warmup_episodes": 0, "hidden": 16, **changes})
    return Learner(spec_of(method), method, config, decoder_of(method), seed=0)


class TestEveryMethod(AdapterConformance):
    @pytest.fixture(params=sorted(METHODS))
    def method(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def adapter(self, method: str) -> Adapter:
        return learner(method).adapter()

    @pytest.fixture
    def spec(self, method: str) -> PolicySpec:
        return spec_of(method)


class TestEveryWarmUp(TestEveryMethod):
    @pytest.fixture
    def adapter(self, method: str) -> Adapter:
        return learner(method, warmup_episodes=3).adapter()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_acts_by_its_kind(method: str) -> None:
    assert isinstance(learner(method).adapter(), KINDS.get(method, SteeringAdapter))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_base_policy_acts_in_the_warm_up_and_policy_decorators_gate_opens_there(method: str) -> None:
    subject = learner(method, warmup_episodes=3, residual_horizon=8)
    subject.add_episode(chunks(1, 2, subject.layout.size))
    adapter = subject.adapter()
    assert subject.warming_up
    if method == "policy-decorator":
        assert isinstance(adapter, SteeringAdapter)
        assert adapter.gate == 0.25
    else:
        assert isinstance(adapter, BaseAdapter)


def test_an_adapter_of_an_unknown_method_names_the_nearest() -> None:
    subject = learner("zprl")
    with pytest.raises(SpecMismatch, match="did you mean 'zprl'"):
        make_adapter(subject.actor_arrays(), {**subject.manifest(), "method": "zpr"}, subject.spec)


def test_the_latent_is_z_plus_lambda_dz() -> None:
    adapter = learner("zprl", latent_scale=0.3).adapter()
    decided = adapter.steer(CONTEXT, np.random.default_rng(0), explore=True)
    assert decided.latent is not None
    assert CONTEXT.z is not None
    assert np.allclose(decided.latent, CONTEXT.z[0] + 0.3 * decided.steer, atol=1e-7)
    assert np.abs(decided.steer).max() <= 1


def test_the_latents_actor_sees_z() -> None:
    adapter = learner("zprl").adapter()
    other = Context(CONTEXT.features, np.array([[-3.0, 2.0]], np.float32))
    first, second = (adapter.steer(c, np.random.default_rng(0), explore=False).steer for c in (CONTEXT, other))
    assert not np.array_equal(first, second)


def test_a_context_without_a_latent_is_refused() -> None:
    with pytest.raises(BadObservation, match="latent"):
        learner("zprl").adapter().steer(Context(CONTEXT.features), np.random.default_rng(0), explore=True)


def test_the_warm_up_of_a_latent_method_decodes_z_itself() -> None:
    decided = learner("zprl", warmup_episodes=3).adapter().steer(CONTEXT, np.random.default_rng(0), explore=True)
    assert decided.latent is not None
    assert CONTEXT.z is not None
    assert np.array_equal(decided.latent, CONTEXT.z[0])
    assert not decided.steer.any()


def test_shifted_noise_has_the_shift_as_its_mean_and_the_spread_of_the_base() -> None:
    subject = learner("lp-ds")
    subject._method.actor.network.flat.normal_(0, 0.3)
    subject._published.follow()
    adapter = subject.adapter()
    assert isinstance(adapter, PerturbationAdapter)
    rng = np.random.default_rng(0)
    noise = np.stack([adapter.steer(CONTEXT, rng, explore=explore).noise for explore in (True, False) * 1500])
    shift = subject.config.noise_bound * adapter.shift(CONTEXT.features).reshape(T, A)
    assert np.abs(shift).max() > 0.3
    assert np.abs(noise.mean(0) - shift).max() < 0.1
    assert np.abs(noise.std(0) - 1).max() < 0.06


def test_a_whole_chunk_lies_in_the_action_range() -> None:
    adapter, rng = learner("rlpd", residual_layout="per_step").adapter(), np.random.default_rng(0)
    sent = np.stack([adapter.steer(CONTEXT, rng, explore=True).chunk for _ in range(200)])
    space = spec_of("rlpd").action_space
    assert (sent >= np.array(space.low) - 1e-6).all()
    assert (sent <= np.array(space.high) + 1e-6).all()
    assert sent.std(0).min() > 0.002


def explored(adapter: Adapter, rng: np.random.Generator, decisions: int) -> Array:
    """The draws [decisions, S] of one episode."""
    decided: list[Steering] = []
    for _ in range(decisions):
        decided.append(adapter.steer(CONTEXT, rng, explore=True, previous=decided[-1] if decided else None))
    return np.stack([steering.draw for steering in decided])


def correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


SAMPLED = sorted(set(METHODS) - {"lp-ds"})
"""Methods whose actor is a distribution."""


@pytest.mark.parametrize("method", SAMPLED)
def test_draws_of_an_episode_are_as_correlated_as_is_set_and_standard_normal(method: str) -> None:
    adapter, rng = learner(method, exploration_correlation=0.8).adapter(), np.random.default_rng(0)
    draws = np.stack([explored(adapter, rng, 8) for _ in range(1500)])  # [episodes, decisions, S]
    assert np.abs(draws.mean(0)).max() < 0.12
    assert np.abs(draws.std(0) - 1).max() < 0.09
    for lag in (1, 3):
        assert correlation(draws[:, :-lag], draws[:, lag:]) == pytest.approx(0.8**lag, abs=0.03)
    assert abs(correlation(draws[:-1, -1], draws[1:, 0])) < 0.08  # one episode's end, the next one's beginning


@pytest.mark.parametrize("method", SAMPLED)
def test_uncorrelated_draws_are_those_of_chunks_on_their_own(method: str) -> None:
    adapter, first, second = learner(method).adapter(), np.random.default_rng(0), np.random.default_rng(0)
    alone = [adapter.steer(CONTEXT, first, explore=True).draw for _ in range(5)]
    assert np.array_equal(explored(adapter, second, 5), np.stack(alone))
    assert first.bit_generator.state == second.bit_generator.state


@pytest.mark.parametrize("method", SAMPLED)
def test_the_draw_is_what_the_steer_was_made_of(method: str) -> None:
    """The same draw again gives the same steer, whatever the generator: with a correlation of almost 1."""
    adapter = learner(method, exploration_correlation=1 - 1e-7, residual_horizon=0).adapter()
    first = adapter.steer(CONTEXT, np.random.default_rng(0), explore=True)
    second = adapter.steer(CONTEXT, np.random.default_rng(1), explore=True, previous=first)
    assert np.allclose(first.steer, second.steer, atol=2e-3)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_what_does_not_explore_draws_nothing_and_follows_nothing(method: str) -> None:
    adapter = learner(method, **({} if method == "lp-ds" else {"exploration_correlation": 0.9})).adapter()
    first = adapter.steer(CONTEXT, np.random.default_rng(0), explore=True)
    alone = adapter.steer(CONTEXT, np.random.default_rng(1), explore=False)
    after = adapter.steer(CONTEXT, np.random.default_rng(1), explore=False, previous=first)
    assert after.draw is None
    assert np.array_equal(after.steer, alone.steer)


def test_the_warm_up_is_the_frozen_policy_whose_draws_nothing_holds_together() -> None:
    adapter = learner("usr", warmup_episodes=3, exploration_correlation=0.9).adapter()
    learnt = learner("usr", exploration_correlation=0.9).adapter()
    before = learnt.steer(CONTEXT, np.random.default_rng(0), explore=True)
    following, alone = (
        adapter.steer(CONTEXT, np.random.default_rng(1), explore=True, previous=previous) for previous in (before, None)
    )
    assert following.draw is None
    assert np.array_equal(following.noise, alone.noise)


@pytest.mark.parametrize("explore", [True, False])
def test_an_unsteered_base_keeps_its_random_noise(explore: bool) -> None:
    adapter, rng = learner("policy-decorator").adapter(), np.random.default_rng(0)
    noise = np.stack([adapter.steer(CONTEXT, rng, explore=explore).noise for _ in range(600)])
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
