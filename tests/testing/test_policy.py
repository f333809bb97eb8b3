"""The policy suite passes a sound policy, and each fault below fails the test that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import BadObservation
from robot_rl.protocols import FrozenPolicy
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import ActionSpace, Array, Context, Observation, PolicySpec

SPACE = ActionSpace("ee_delta", ("dx", "dy"), ("m", "m"), (-0.01, -0.01), (0.01, 0.01))
SPEC = PolicySpec(
    policy_id="linear",
    observation={"tcp_pose": (7,), "extra.bin_pose": (4,)},
    action_space=SPACE,
    horizon=3,
    step_s=0.05,
    noise_shape=(3, 2),
    features=11,
    latent=2,
    deterministic=True,
    decodes_from_features=True,
)


class LinearPolicy:
    """The least that keeps the protocol: chunk = noise + mean of the features + the latent's two numbers."""

    spec = SPEC

    def encode(self, observations: Sequence[Observation]) -> Context:
        features = np.stack([self.features(observation) for observation in observations])
        return Context(features, features[:, :2].copy())

    def features(self, observation: Observation) -> Array:
        if "bin_pose" not in observation.extra:
            raise BadObservation("expected extra.bin_pose [4]; send it")
        if observation.tcp_pose.shape != (7,):
            raise BadObservation(f"expected tcp_pose [7], got {observation.tcp_pose.shape}")
        return np.concatenate([observation.tcp_pose, observation.extra["bin_pose"]]).astype(np.float32)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        z = context.z if latent is None else latent
        chunks: Array = noise + context.features.mean(axis=1)[:, None, None] + z[:, None, :]
        return chunks.astype(np.float32)


def some_observations() -> list[Observation]:
    rng = np.random.default_rng(0)
    return [
        Observation(
            seq=seq,
            stamps_ns={"robot": seq},
            q=np.zeros(7),
            dq=np.zeros(7),
            tcp_pose=rng.standard_normal(7),
            gripper_width=0.08,
            wrench=np.zeros(6),
            extra={"bin_pose": rng.standard_normal(4)},
        )
        for seq in range(3)
    ]


class TestLinearPolicy(FrozenPolicyConformance):
    @pytest.fixture
    def policy(self) -> FrozenPolicy:
        return LinearPolicy()

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        return some_observations()


class Double(LinearPolicy):
    def decode(self, *args: Any, **kwargs: Any) -> Array:
        return super().decode(*args, **kwargs).astype(np.float64)


class NotFinite(LinearPolicy):
    def decode(self, *args: Any, **kwargs: Any) -> Array:
        return super().decode(*args, **kwargs) * np.float32(np.nan)


class NoLatent(LinearPolicy):
    def encode(self, observations: Sequence[Observation]) -> Context:
        return replace(super().encode(observations), z=None)


class MixesItsBatch(LinearPolicy):
    def encode(self, observations: Sequence[Observation]) -> Context:
        context = super().encode(observations)
        return replace(context, features=context.features - context.features.mean(axis=0))


class MixesItsChunks(LinearPolicy):
    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        chunks = super().decode(context, noise, latent)
        return chunks - chunks.mean(axis=0)


class DrawsItsOwnNoise(LinearPolicy):
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return super().decode(context, noise + self.rng.standard_normal(noise.shape), latent)


class IgnoresNoise(LinearPolicy):
    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return super().decode(context, np.zeros_like(noise), latent)


class IgnoresLatent(LinearPolicy):
    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return super().decode(context, noise)


class KeepsWhatItEncoded(LinearPolicy):
    def encode(self, observations: Sequence[Observation]) -> Context:
        return replace(super().encode(observations), handle=(b"here",) * len(observations))

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return super().decode(context, noise, latent) * np.float32(bool(context.handle))


class WritesIntoItsNoise(LinearPolicy):
    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        noise += 1.0
        return super().decode(context, noise, latent)


class ReusesItsBuffer(LinearPolicy):
    def __init__(self) -> None:
        self.buffer = np.zeros((3, 3, 2), np.float32)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        self.buffer[: len(noise)] = super().decode(context, noise, latent)
        return self.buffer[: len(noise)]


class TakesAnything(LinearPolicy):
    def features(self, observation: Observation) -> Array:
        pose = np.resize(observation.tcp_pose, 7)
        return np.concatenate([pose, observation.extra.get("bin_pose", np.zeros(4))]).astype(np.float32)


class NoStep(LinearPolicy):
    spec = replace(SPEC, step_s=0.0)


SUITE = FrozenPolicyConformance
FAULTS: list[tuple[type[LinearPolicy], Callable[..., None]]] = [
    (NoStep, SUITE.test_spec_is_sound_and_keeps_its_hash),
    (NoLatent, SUITE.test_encode_gives_a_context_of_the_batch),
    (MixesItsBatch, SUITE.test_encode_of_a_batch_is_that_of_its_singles),
    (Double, SUITE.test_decode_gives_chunks_in_the_action_space),
    (NotFinite, SUITE.test_decode_gives_chunks_in_the_action_space),
    (MixesItsChunks, SUITE.test_decode_of_a_batch_is_that_of_its_singles),
    (DrawsItsOwnNoise, SUITE.test_same_noise_same_chunk),
    (IgnoresNoise, SUITE.test_other_noise_other_chunk),
    (IgnoresLatent, SUITE.test_other_latent_other_chunk),
    (KeepsWhatItEncoded, SUITE.test_stored_features_and_latent_are_enough_to_decode),
    (WritesIntoItsNoise, SUITE.test_inputs_are_only_read),
    (ReusesItsBuffer, SUITE.test_chunks_are_the_callers_own),
    (TakesAnything, SUITE.test_a_lacking_key_is_named_and_the_next_observation_served),
]


@pytest.mark.parametrize(("faulty", "test"), FAULTS)
def test_each_fault_fails_its_test(faulty: type[LinearPolicy], test: Callable[..., None]) -> None:
    arguments = {"observations": some_observations()} if "observations" in test.__annotations__ else {}
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(SUITE(), policy=faulty(), **arguments)


def test_every_test_of_the_suite_has_a_fault() -> None:
    tests = {name for name in dir(SUITE) if name.startswith("test_")}
    assert tests - {test.__name__ for _, test in FAULTS} == {"test_has_the_calls_of_the_protocol"}
