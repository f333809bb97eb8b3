"""The golden observation is kept whole, and whatever acts otherwise than it did is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import BadObservation, IntegrityError, SpecMismatch
from robot_rl.store import golden as golden_module
from robot_rl.store.golden import (
    TOLERANCE,
    Golden,
    adapter_output,
    make_golden,
    makers,
    read_golden,
    require_adapter,
    require_policy,
    write_golden,
)
from robot_rl.store.run import RunDirectory
from robot_rl.types import Array, Context, Steering
from tests.serve.doubles import SeeingPolicy, observation


@dataclass
class Scaled(SeeingPolicy):
    """A policy whose chunks, or features, have become `times` what they were."""

    times: float = 1.0
    features: float = 1.0

    def __post_init__(self) -> None:
        super().__init__()

    def encode(self, observations: Any) -> Context:
        seen = super().encode(observations)
        return replace(seen, features=seen.features * np.float32(self.features))

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return np.asarray(super().decode(context, noise, latent) * np.float64(self.times))


@dataclass
class Leaning:
    """An adapter that steers by what it sees, `times` so far."""

    times: float = 1.0
    version: int = 12

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        assert not explore
        steer = np.asarray(np.tanh(context.features[0] * self.times), np.float64)
        return Steering(steer, rng.standard_normal((8, 4)).astype(np.float32), np.zeros((8, 4)), latent=steer[:2])


@pytest.fixture
def golden(run: RunDirectory) -> Golden:
    write_golden(run, make_golden(observation(3), SeeingPolicy()))
    kept = read_golden(run, SeeingPolicy().spec)
    assert kept is not None
    return kept


def elsewhere(golden: Golden) -> Golden:
    """As made on another machine."""
    return replace(golden, made_by={**golden.made_by, "machine": "another", "numpy": "1.0"})


def test_what_the_policy_reads_and_makes_of_it_is_kept_bit_for_bit(run: RunDirectory, golden: Golden) -> None:
    made = make_golden(observation(3), SeeingPolicy())
    assert golden.name == made.name != make_golden(observation(4), SeeingPolicy()).name
    assert golden.observation.images.keys() == {"front"}
    assert golden.observation.extra.keys() == {"bin_pose"}
    assert np.array_equal(golden.observation.images["front"], observation(3).images["front"])
    for mine, theirs in ((golden.context.features, made.context.features), (golden.noise, made.noise)):
        np.testing.assert_array_equal(mine, theirs, strict=True)
    np.testing.assert_array_equal(golden.chunk, made.chunk, strict=True)
    assert golden.made_by == makers()


def test_a_run_that_has_none_yet_has_none(run: RunDirectory) -> None:
    assert read_golden(run, SeeingPolicy().spec) is None


def test_an_observation_that_is_not_whole_is_not_kept() -> None:
    with pytest.raises(BadObservation, match=r"images\.front"):
        make_golden(replace(observation(), images={}), SeeingPolicy())


@pytest.mark.parametrize("spoil", ["flipped", "gone", "no manifest", "of another policy"])
def test_a_damaged_one_says_what_to_do(run: RunDirectory, golden: Golden, spoil: str) -> None:
    spec = SeeingPolicy().spec
    if spoil == "flipped":
        content = bytearray(run.golden.read_bytes())
        content[-1] ^= 1
        run.golden.write_bytes(content)
    elif spoil == "gone":
        run.golden.unlink()
    elif spoil == "no manifest":
        run.golden.with_suffix(".json").write_text("{")
    else:
        spec = replace(spec, observation={"tcp_pose": (7,), "extra.other": (3,)})
    with pytest.raises(IntegrityError, match=r"Put it back; or remove golden\.json"):
        read_golden(run, spec)


# --- the policy -----------------------------------------------------------------------------------------------------


def test_the_same_policy_passes(golden: Golden) -> None:
    require_policy(golden, SeeingPolicy())
    require_policy(elsewhere(golden), SeeingPolicy())


@pytest.mark.parametrize(("policy", "what"), [(Scaled(times=1.001), "chunk"), (Scaled(features=1.001), "features")])
def test_a_policy_that_acts_otherwise_is_refused_with_both_figures(golden: Golden, policy: Scaled, what: str) -> None:
    pattern = rf"policy seeing does not act as it did: .* its {what} was \[.*\(sha256 .*now it is \[.*\(sha256 .*apart"
    with pytest.raises(SpecMismatch, match=pattern):
        require_policy(golden, policy)


def test_the_last_bit_counts_on_the_same_machine_and_not_elsewhere(golden: Golden) -> None:
    nearly = Scaled(times=1 + TOLERANCE / 10)
    with pytest.raises(SpecMismatch, match="0 allowed"):
        require_policy(golden, nearly)
    require_policy(elsewhere(golden), nearly)
    with pytest.raises(SpecMismatch, match=r"Changed since: machine another -> .*, numpy 1\.0 -> "):
        require_policy(elsewhere(golden), Scaled(times=1 + 10 * TOLERANCE))


def test_a_server_computes_on_a_machine_of_its_own(golden: Golden) -> None:
    class Remote(Scaled):
        def encode(self, observations: Any) -> Context:
            return replace(super().encode(observations), handle=(b"kept there",))

    require_policy(golden, Remote(times=1 + TOLERANCE / 10))
    with pytest.raises(SpecMismatch, match="its chunk was"):
        require_policy(golden, Remote(times=1 + 10 * TOLERANCE))


def test_a_policy_that_is_random_by_itself_is_compared_by_what_it_sees(golden: Golden) -> None:
    policy = Scaled(times=2.0)
    policy.spec = replace(policy.spec, deterministic=False)
    require_policy(golden, policy)


def test_what_is_not_a_number_is_never_the_same(golden: Golden) -> None:
    with pytest.raises(SpecMismatch, match="nan apart"):
        require_policy(golden, Scaled(times=float("nan")))


# --- adapters -------------------------------------------------------------------------------------------------------


def test_an_adapter_that_does_what_it_said_passes(golden: Golden) -> None:
    require_adapter(golden, Leaning(), adapter_output(golden, Leaning()))


def test_one_that_acts_otherwise_is_refused_and_both_are_named(golden: Golden) -> None:
    said = adapter_output(golden, Leaning())
    pattern = r"adapter version 12 does not act as it did: .* its steer was \[.*now it is \["
    with pytest.raises(SpecMismatch, match=pattern):
        require_adapter(golden, Leaning(times=1.01), said)
    del said["output"]["latent"]  # it has begun to steer what it did not
    with pytest.raises(SpecMismatch, match="its latent was"):
        require_adapter(golden, Leaning(), said)


def test_versions_that_have_changed_are_named(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    said = adapter_output(golden, Leaning())
    monkeypatch.setattr(golden_module, "makers", lambda: {**makers(), "robot_rl": "9.9", "numpy": "9.0"})
    with pytest.raises(SpecMismatch, match=r"Changed since: robot_rl .* -> 9\.9, numpy .* -> 9\.0\. Go back to"):
        require_adapter(golden, Leaning(times=1.01), said)


def test_what_was_said_of_another_observation_is_not_compared(golden: Golden) -> None:
    other = make_golden(observation(4), SeeingPolicy())
    require_adapter(golden, Leaning(times=2.0), adapter_output(other, Leaning()))
