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
from robot_rl.types import Context, PolicySpec
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


@pytest.mark.parametrize("explore", [True, False])
def test_an_unsteered_base_keeps_its_random_noise(explore: bool) -> None:
    adapter, rng = learner("policy-decorator").adapter(), np.random.default_rng(0)
    noise = np.stack([adapter.steer(CONTEXT, rng, explore=explore).noise for _ in range(600)])
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
