"""Functions as frozen policies: the conformance suite, here and through the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.errors import BadAction, ConfigError, SpecMismatch
from robot_rl.policy.remote import RemotePolicy
from robot_rl.serve.callables import CallablePolicy, Values
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Array, Context, Observation
from tests.serve.doubles import SPACE, SeeingPolicy, noise, observation
from tests.serve.served import served

SPEC = replace(SeeingPolicy().spec, policy_id="callable", features=11, latent=None)
NOISELESS = replace(SPEC, noise_shape=())


def act(values: Values, given: Array | None) -> Array:
    """A chunk that depends on all that is seen, and on the noise if there is any."""
    seen = values["tcp_pose"].sum() + values["extra.bin_pose"].sum() + values["images.front"].mean() / 255
    return 0.01 * np.tanh(seen + (np.zeros((8, 4)) if given is None else given))


class Conformance(FrozenPolicyConformance):
    __test__ = False

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        return [observation(seq) for seq in range(3)]


class TestCallable(Conformance):
    __test__ = True

    @pytest.fixture(params=[SPEC, NOISELESS], ids=["noise", "no noise"])
    def policy(self, request: pytest.FixtureRequest) -> CallablePolicy:
        return CallablePolicy(act, request.param)


class TestServedCallable(Conformance):
    __test__ = True

    @pytest.fixture
    def policy(self) -> Iterator[RemotePolicy]:
        yield from served(CallablePolicy(act, SPEC))


def test_a_function_that_gives_another_shape_than_its_spec_is_refused() -> None:
    seen = [observation()]
    flat = CallablePolicy(lambda values, given: np.zeros(4), SPEC)
    with pytest.raises(SpecMismatch, match=r"expected a chunk \(8, 4\)"):
        flat.decode(flat.encode(seen), noise())
    few = CallablePolicy(act, SPEC, features=lambda values: np.zeros(3))
    with pytest.raises(SpecMismatch, match="features"):
        few.encode(seen)
    with pytest.raises(ConfigError, match="latent"):
        CallablePolicy(act, replace(SPEC, latent=2))


def test_what_it_did_not_encode_it_does_not_decode() -> None:
    policy = CallablePolicy(act, SPEC)
    with pytest.raises(SpecMismatch, match="encoded"):
        policy.decode(Context(np.zeros((1, 11), np.float32)), noise())
    with pytest.raises(BadAction, match="latent"):
        policy.decode(policy.encode([observation()]), noise(), np.zeros((1, 2), np.float32))


def test_contexts_of_several_are_repeated_with_what_they_hold() -> None:
    policy = CallablePolicy(act, SPEC)
    context = policy.encode([observation(0), observation(1)]).repeated(2)
    chunks = policy.decode(context, np.repeat(noise(2), 2, 0))
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert not np.array_equal(chunks[1], chunks[2])
    assert SPACE.size == chunks.shape[2]
