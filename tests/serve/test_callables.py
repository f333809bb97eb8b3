"""Functions, and openpi's policies, as frozen policies: the conformance suite, here and through the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import BadAction, ConfigError, SpecMismatch
from robot_rl.policy.remote import RemotePolicy
from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.callables import CallablePolicy, Values
from robot_rl.serve.openpi import wrap
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Array, Context, Observation
from tests.serve.doubles import SPACE, SeeingPolicy, noise, observation
from tests.serve.served import served

SPEC = replace(SeeingPolicy().spec, policy_id="callable", features=11, latent=None)
NOISELESS = replace(SPEC, noise_shape=())
MODEL_NOISE = replace(SPEC, policy_id="pi", noise_shape=(10, 32))
KEYS = {"tcp_pose": "observation/state", "images.front": "observation/image", "extra.bin_pose": "observation/bin"}


def act(values: Values, given: Array | None) -> Array:
    """A chunk that depends on all that is seen, and on the noise if there is any."""
    seen = values["tcp_pose"].sum() + values["extra.bin_pose"].sum() + values["images.front"].mean() / 255
    return 0.01 * np.tanh(seen + (np.zeros((8, 4)) if given is None else given))


class OpenPiDouble:
    """As openpi's `Policy` does it: reads a dictionary, draws noise if none is given, works on a batch of one."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.prompts: list[str] = []

    def infer(self, obs: dict[str, Any], *, noise: Array | None = None) -> dict[str, Any]:
        inputs = dict(obs)
        self.prompts.append(inputs["prompt"])
        image = np.asarray(inputs["observation/image"], np.float32)[None] / 255.0 * 2.0 - 1.0
        state = np.concatenate([inputs["observation/state"], inputs["observation/bin"]])[None]
        x = self._rng.standard_normal((10, 32)) if noise is None else np.asarray(noise)
        x = x[None] if x.ndim == 2 else x
        for _ in range(10):  # as a flow's Euler steps, conditioned on what is seen
            x = x - 0.1 * (x - np.tanh(x + state.mean() + image.mean()))
        return {
            "state": state[0],
            "actions": 0.01 * np.tanh(x[0, :, :4]),  # the output transform cuts to the robot's dimensions
            "policy_timing": {"infer_ms": 1.0},
        }


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


class TestOpenPi(Conformance):
    __test__ = True

    @pytest.fixture(params=["here", "served"])
    def policy(self, request: pytest.FixtureRequest) -> Iterator[FrozenPolicy]:
        policy = wrap(OpenPiDouble(), MODEL_NOISE, KEYS, "open the lid")
        if request.param == "here":
            yield policy
        else:
            yield from served(policy)


def test_openpi_gets_its_own_keys_its_prompt_and_the_noise() -> None:
    double = OpenPiDouble()
    policy, given = wrap(double, MODEL_NOISE, KEYS, "open the lid"), np.ones((1, 10, 32), np.float32)
    chunk = policy.decode(policy.encode([observation(1)]), given)
    seen = observation(1)
    inputs = {
        "observation/state": seen.tcp_pose,
        "observation/image": seen.images["front"],
        "observation/bin": seen.extra["bin_pose"],
        "prompt": "open the lid",
    }
    expected = double.infer(inputs, noise=given[0])["actions"][:8]
    np.testing.assert_allclose(chunk[0], expected, rtol=1e-6)
    assert set(double.prompts) == {"open the lid"}
    with pytest.raises(ConfigError, match="images"):
        wrap(double, MODEL_NOISE, {"tcp_pose": "observation/state"})


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
