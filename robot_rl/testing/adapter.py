"""What every adapter must do where it acts (`robot_rl.protocols.Adapter`); inherit and give the three fixtures."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.protocols import Adapter
from robot_rl.types import Array, Context, PolicySpec, Steering


class AdapterConformance:
    """Shapes, reproducibility from the generator alone, and one version that never changes."""

    @pytest.fixture
    def adapter(self) -> Adapter:
        """The adapter under test."""
        raise NotImplementedError("a conformance suite needs an `adapter` fixture")

    @pytest.fixture
    def spec(self) -> PolicySpec:
        """The spec of the policy that it steers."""
        raise NotImplementedError("a conformance suite needs a `spec` fixture")

    @pytest.fixture
    def context(self, spec: PolicySpec) -> Context:
        """A context of batch 1; override it where N(0, I) features make no sense."""
        rng = np.random.default_rng(0)
        features = rng.standard_normal((1, spec.features)).astype(np.float32)
        return Context(features, None if spec.latent is None else np.zeros((1, spec.latent), np.float32))

    def test_has_the_calls_of_the_protocol(self, adapter: Adapter) -> None:
        assert isinstance(adapter, Adapter)
        assert adapter.version >= 0

    @pytest.mark.parametrize("explore", [True, False])
    def test_steering_fits_the_policy(
        self, adapter: Adapter, spec: PolicySpec, context: Context, explore: bool
    ) -> None:
        for seed in range(5):
            steering = adapter.steer(context, np.random.default_rng(seed), explore=explore)
            assert (steering.steer.dtype.name, steering.steer.ndim) == ("float32", 1)
            assert (steering.noise.dtype.name, steering.noise.shape) == ("float32", spec.noise_shape)
            assert steering.residual.shape == (spec.horizon, spec.action_space.size)
            if steering.latent is not None:
                assert steering.latent.shape == (spec.latent,)
            if steering.chunk is not None:
                assert steering.chunk.shape == (spec.horizon, spec.action_space.size)
            if steering.draw is not None:
                assert (steering.draw.dtype.name, steering.draw.shape) == ("float32", steering.steer.shape)
            assert all(np.isfinite(array).all() for array in arrays(steering))

    @pytest.mark.parametrize("explore", [True, False])
    def test_chance_comes_from_the_generator_alone(self, adapter: Adapter, context: Context, explore: bool) -> None:
        """And what went before, from the caller: an episode's decisions follow each other, not the adapter's calls."""
        first = adapter.steer(context, np.random.default_rng(3), explore=explore)
        second = adapter.steer(context, np.random.default_rng(4), explore=explore, previous=first)
        for seed, previous, decided in ((3, None, first), (4, first, second)):
            again = adapter.steer(context, np.random.default_rng(seed), explore=explore, previous=previous)
            for one, other in zip(arrays(decided), arrays(again), strict=True):
                np.testing.assert_array_equal(one, other)

    def test_exploring_samples(self, adapter: Adapter, context: Context) -> None:
        one, other = (adapter.steer(context, np.random.default_rng(seed), explore=True) for seed in (0, 1))
        assert any(not np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))

    def test_inputs_are_only_read_and_outputs_the_callers_own(self, adapter: Adapter, context: Context) -> None:
        features = context.features.copy()
        first = adapter.steer(context, np.random.default_rng(0), explore=True)
        kept = [array.copy() for array in arrays(first)]
        adapter.steer(context, np.random.default_rng(1), explore=True, previous=first)
        np.testing.assert_array_equal(context.features, features)
        for array, copy in zip(arrays(first), kept, strict=True):
            np.testing.assert_array_equal(array, copy)


def arrays(steering: Steering) -> list[Array]:
    """All that an adapter decided."""
    decided = (steering.steer, steering.noise, steering.residual, steering.latent, steering.chunk, steering.draw)
    return [array for array in decided if array is not None]
