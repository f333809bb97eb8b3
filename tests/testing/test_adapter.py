"""The adapter suite passes a sound adapter, and each fault below fails the test that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from robot_rl.protocols import Adapter
from robot_rl.testing.adapter import AdapterConformance
from robot_rl.types import ActionSpace, Array, Context, PolicySpec, Steering

SPACE = ActionSpace("ee_delta", ("dx", "dy"), ("m", "m"), (-0.01, -0.01), (0.01, 0.01))
SPEC = PolicySpec(
    policy_id="any",
    observation={"tcp_pose": (7,)},
    action_space=SPACE,
    horizon=3,
    step_s=0.05,
    noise_shape=(3, 2),
    features=5,
    latent=None,
    deterministic=True,
    decodes_from_features=True,
)


class GaussianAdapter:
    """Noise around the mean of the features; no residual."""

    version = 0

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        steer: Array = np.full(6, context.features.mean(), np.float32)
        if explore:
            steer = steer + rng.standard_normal(6).astype(np.float32)
        return Steering(steer, steer.reshape(3, 2), np.zeros((3, 2)))


class TestGaussianAdapter(AdapterConformance):
    @pytest.fixture
    def adapter(self) -> Adapter:
        return GaussianAdapter()

    @pytest.fixture
    def spec(self) -> PolicySpec:
        return SPEC


class OneStepOnly(GaussianAdapter):
    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        return replace(super().steer(context, rng, explore=explore), residual=np.zeros(2))


class NotFinite(GaussianAdapter):
    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        return replace(super().steer(context, rng, explore=explore), residual=np.full((3, 2), np.nan))


class HasItsOwnChance(GaussianAdapter):
    def __init__(self) -> None:
        self.own = np.random.default_rng(0)

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        return super().steer(context, self.own, explore=True)


class RemembersByItself(GaussianAdapter):
    steps = 0

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        self.steps += 1
        steering = super().steer(context, rng, explore=explore)
        return replace(steering, steer=steering.steer + self.steps)


class NeverExplores(GaussianAdapter):
    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        return super().steer(context, rng, explore=False)


class ReusesItsBuffer(GaussianAdapter):
    def __init__(self) -> None:
        self.noise = np.zeros((3, 2), np.float32)

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        steering = super().steer(context, rng, explore=explore)
        self.noise[:] = steering.noise
        return replace(steering, noise=self.noise)


class WritesIntoTheContext(GaussianAdapter):
    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        context.features[:] = 0.0
        return super().steer(context, rng, explore=explore)


class NegativeVersion(GaussianAdapter):
    version = -1


SUITE = AdapterConformance
FAULTS: list[tuple[type[GaussianAdapter], Callable[..., None]]] = [
    (NegativeVersion, SUITE.test_has_the_calls_of_the_protocol),
    (OneStepOnly, SUITE.test_steering_fits_the_policy),
    (NotFinite, SUITE.test_steering_fits_the_policy),
    (HasItsOwnChance, SUITE.test_chance_comes_from_the_generator_alone),
    (RemembersByItself, SUITE.test_chance_comes_from_the_generator_alone),
    (NeverExplores, SUITE.test_exploring_samples),
    (ReusesItsBuffer, SUITE.test_inputs_are_only_read_and_outputs_the_callers_own),
    (WritesIntoTheContext, SUITE.test_inputs_are_only_read_and_outputs_the_callers_own),
]


@pytest.mark.parametrize(("faulty", "test"), FAULTS)
def test_each_fault_fails_its_test(faulty: type[GaussianAdapter], test: Callable[..., None]) -> None:
    features = np.random.default_rng(0).standard_normal((1, SPEC.features)).astype(np.float32)
    given = {"context": Context(features), "spec": SPEC, "explore": True}
    with pytest.raises(AssertionError):
        test(SUITE(), adapter=faulty(), **{k: v for k, v in given.items() if k in test.__annotations__})


def test_every_test_of_the_suite_has_a_fault() -> None:
    assert {name for name in dir(SUITE) if name.startswith("test_")} == {test.__name__ for _, test in FAULTS}
