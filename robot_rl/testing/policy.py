"""What every frozen policy must do (`robot_rl.protocols.FrozenPolicy`); inherit and give the two fixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.errors import BadObservation
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Context, Observation, PolicySpec


class FrozenPolicyConformance:
    """Shapes, determinism, batching and bad input; `tolerance` is how far a batch may be from its singles, SI units."""

    tolerance = 1e-5

    @pytest.fixture
    def policy(self) -> FrozenPolicy:
        """The policy under test."""
        raise NotImplementedError("a conformance suite needs a `policy` fixture")

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        """Three or more valid observations that differ."""
        raise NotImplementedError("a conformance suite needs an `observations` fixture")

    def test_has_the_calls_of_the_protocol(self, policy: FrozenPolicy) -> None:
        assert isinstance(policy, FrozenPolicy)

    def test_spec_is_sound_and_keeps_its_hash(self, policy: FrozenPolicy) -> None:
        spec, space = policy.spec, policy.spec.action_space
        assert min(spec.horizon, spec.features, space.size) >= 1
        assert spec.step_s > 0
        assert spec.latent is None or spec.latent >= 1
        assert len(space.units) == len(space.low) == len(space.high) == space.size
        assert all(low < high for low, high in zip(space.low, space.high, strict=True))
        assert spec.hash == policy.spec.hash

    def test_encode_gives_a_context_of_the_batch(
        self, policy: FrozenPolicy, observations: Sequence[Observation]
    ) -> None:
        batch, spec, context = len(observations), policy.spec, policy.encode(observations)
        assert_array(context.features, (batch, spec.features))
        if spec.latent is None:
            assert context.z is None
        else:
            assert context.z is not None
            assert_array(context.z, (batch, spec.latent))
        assert len(context.handle) in (0, batch)

    def test_encode_of_a_batch_is_that_of_its_singles(
        self, policy: FrozenPolicy, observations: Sequence[Observation]
    ) -> None:
        together = policy.encode(observations)
        for row, observation in enumerate(observations):
            alone = policy.encode([observation])
            np.testing.assert_allclose(alone.features[0], together.features[row], atol=self.tolerance)

    def test_decode_gives_chunks_in_the_action_space(
        self, policy: FrozenPolicy, observations: Sequence[Observation]
    ) -> None:
        spec = policy.spec
        chunks = policy.decode(policy.encode(observations), noise_for(spec, len(observations)))
        assert_array(chunks, (len(observations), spec.horizon, spec.action_space.size))

    def test_decode_of_a_batch_is_that_of_its_singles(
        self, policy: FrozenPolicy, observations: Sequence[Observation]
    ) -> None:
        context, noise = policy.encode(observations), noise_for(policy.spec, len(observations))
        together = policy.decode(context, noise)
        for row in range(len(observations)):
            alone = policy.decode(row_of(context, row), noise[row : row + 1])
            np.testing.assert_allclose(alone[0], together[row], atol=self.tolerance)

    def test_same_noise_same_chunk(self, policy: FrozenPolicy, observations: Sequence[Observation]) -> None:
        if not policy.spec.deterministic:
            pytest.skip("the spec says that this policy is not deterministic")
        context, noise = policy.encode(observations), noise_for(policy.spec, len(observations))
        first = policy.decode(context, noise).copy()
        policy.decode(context, noise_for(policy.spec, len(observations), seed=1))
        np.testing.assert_array_equal(policy.decode(context, noise), first)

    def test_other_noise_other_chunk(self, policy: FrozenPolicy, observations: Sequence[Observation]) -> None:
        if not policy.spec.noise_shape:
            pytest.skip("this policy takes no noise")
        context, batch = policy.encode(observations), len(observations)
        one = policy.decode(context, noise_for(policy.spec, batch, seed=0))
        other = policy.decode(context, noise_for(policy.spec, batch, seed=1))
        assert all(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    def test_other_latent_other_chunk(self, policy: FrozenPolicy, observations: Sequence[Observation]) -> None:
        spec, batch = policy.spec, len(observations)
        if spec.latent is None:
            pytest.skip("this policy has no latent")
        context, noise, rng = policy.encode(observations), noise_for(spec, batch), np.random.default_rng(2)
        one, other = rng.standard_normal((2, batch, spec.latent)).astype(np.float32)
        assert not np.array_equal(policy.decode(context, noise, one), policy.decode(context, noise, other))

    def test_stored_features_and_latent_are_enough_to_decode(
        self, policy: FrozenPolicy, observations: Sequence[Observation]
    ) -> None:
        if not policy.spec.decodes_from_features:
            pytest.skip("the spec says that decoding needs the policy's own context")
        context, noise = policy.encode(observations), noise_for(policy.spec, len(observations))
        stored = Context(context.features.copy(), None if context.z is None else context.z.copy())
        np.testing.assert_allclose(policy.decode(stored, noise), policy.decode(context, noise), atol=self.tolerance)

    def test_inputs_are_only_read(self, policy: FrozenPolicy, observations: Sequence[Observation]) -> None:
        poses = [observation.tcp_pose.copy() for observation in observations]
        context, noise = policy.encode(observations), noise_for(policy.spec, len(observations))
        features, given = context.features.copy(), noise.copy()
        policy.decode(context, noise)
        np.testing.assert_array_equal(context.features, features)
        np.testing.assert_array_equal(noise, given)
        for observation, pose in zip(observations, poses, strict=True):
            np.testing.assert_array_equal(observation.tcp_pose, pose)

    def test_chunks_are_the_callers_own(self, policy: FrozenPolicy, observations: Sequence[Observation]) -> None:
        context, noise = policy.encode(observations), noise_for(policy.spec, len(observations))
        first = policy.decode(context, noise)
        kept = first.copy()
        policy.decode(context, noise_for(policy.spec, len(observations), seed=1))
        np.testing.assert_array_equal(first, kept)

    def test_a_lacking_key_is_named_and_the_next_observation_served(
        self, policy: FrozenPolicy, observations: Sequence[Observation]
    ) -> None:
        good = observations[0]
        keys = [key for key in policy.spec.observation if "." in key]
        for key in keys:
            with pytest.raises(BadObservation, match=key.split(".", 1)[1]):
                policy.encode([without(good, key)])
        if "tcp_pose" in policy.spec.observation:
            with pytest.raises(BadObservation, match="tcp_pose"):
                policy.encode([replace(good, tcp_pose=good.tcp_pose[:-1])])
        assert policy.encode([good]).features.shape == (1, policy.spec.features)


def noise_for(spec: PolicySpec, batch: int, seed: int = 0) -> Array:
    """Decoder noise [batch, *noise_shape] from N(0, I), float32."""
    return np.random.default_rng(seed).standard_normal((batch, *spec.noise_shape)).astype(np.float32)


def row_of(context: Context, row: int) -> Context:
    """The context of one of the batch, itself of batch 1."""
    return Context(
        context.features[row : row + 1],
        None if context.z is None else context.z[row : row + 1],
        context.handle[row : row + 1],
        context.state[row : row + 1],
    )


def without(observation: Observation, key: str) -> Observation:
    """`observation` without `images.<camera>` or `extra.<name>`."""
    part, name = key.split(".", 1)
    rest = {k: v for k, v in getattr(observation, part).items() if k != name}
    return replace(observation, images=rest) if part == "images" else replace(observation, extra=rest)


def assert_array(array: Array, shape: tuple[int, ...]) -> None:
    """float32, of `shape`, every number finite."""
    assert (array.dtype.name, array.shape) == ("float32", shape)
    assert np.isfinite(array).all()
