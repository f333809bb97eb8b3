"""Evaluation: seeded, trial by trial, and what cannot be judged counts as a failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from robot_rl.compositions.evaluate import Fixed, Witness, evaluate, frozen, outcomes
from robot_rl.compositions.plan import load_policy
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError
from robot_rl.policy.flow import FlowPolicy
from robot_rl.protocols import Adapter
from robot_rl.task_files import load_task, task_path
from robot_rl.testing.adapter import AdapterConformance
from robot_rl.twins import Cell, Split
from robot_rl.types import Array, Context, PolicySpec, Steering

TRIALS = 12


@pytest.fixture(scope="module")
def task() -> TaskConfig:
    return load_task("lid_opening")


@pytest.fixture(scope="module")
def policy(task: TaskConfig) -> FlowPolicy:
    return load_policy(task, task_path("lid_opening"))


@pytest.fixture(scope="module")
def base(task: TaskConfig, policy: FlowPolicy) -> list[int]:
    return outcomes(task, "usr", policy, frozen(policy), TRIALS, seed=0)


class Raising:
    """An adapter that leaves the noise alone and raises the hand by `height` m in each chunk."""

    version = 7

    def __init__(self, spec: PolicySpec, height: float) -> None:
        self._spec, self._height = spec, height
        self.explored: set[bool] = set()
        self.previous: Steering | None = None

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        self.explored.add(explore)
        self.previous = previous
        residual = np.zeros((self._spec.horizon, 4))
        residual[:, 2] = self._height / self._spec.horizon
        noise = rng.standard_normal(self._spec.noise_shape).astype(np.float32)
        return Steering(noise.ravel(), noise, residual)


def test_a_witness_hands_on_what_was_decided_before(policy: FlowPolicy) -> None:
    asked = Raising(policy.spec, 0.0)
    context, rng = Context(np.zeros((1, policy.spec.features), np.float32)), np.random.default_rng(0)
    first = Witness(asked).steer(context, rng, explore=True)
    Witness(asked).steer(context, rng, explore=True, previous=first)
    assert asked.previous is first


class Broken:
    """The policy, but its chunks are not numbers."""

    def __init__(self, policy: FlowPolicy) -> None:
        self._policy, self.spec = policy, policy.spec

    def encode(self, observations: Sequence[object]) -> Context:
        return self._policy.encode(observations)  # type: ignore[arg-type]

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return np.full_like(self._policy.decode(context, noise, latent), np.nan)

    def close(self) -> None:
        """Nothing to release."""


class TestFrozen(AdapterConformance):
    """The base line is an adapter as any other."""

    @pytest.fixture
    def spec(self, policy: FlowPolicy) -> PolicySpec:
        return policy.spec

    @pytest.fixture
    def adapter(self, policy: FlowPolicy) -> Adapter:
        return frozen(policy)


def test_the_base_line_is_the_policy_with_its_own_noise(policy: FlowPolicy) -> None:
    adapter = frozen(policy)
    context = Context(np.zeros((1, policy.spec.features), np.float32))
    drawn = [adapter.steer(context, np.random.default_rng(seed), explore=False) for seed in range(300)]
    noise = np.array([steering.noise for steering in drawn])
    assert noise.shape == (300, *policy.spec.noise_shape)
    assert np.abs(noise.mean(0)).max() < 0.25
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    assert np.abs(noise).max() > 2.5, "not clipped"
    assert not any(steering.residual.any() for steering in drawn)


def test_every_trial_is_judged_and_told(task: TaskConfig, policy: FlowPolicy, base: list[int]) -> None:
    told: list[int] = []
    rate = evaluate(task, "usr", policy, frozen(policy), trials=TRIALS, seed=0, progress=told.append)
    assert (rate.successes, rate.trials) == (sum(base), TRIALS)
    assert set(base) == {0, 1}
    assert told == list(range(1, TRIALS + 1))


def test_a_trial_depends_on_its_number_and_not_on_how_many_there_are(
    task: TaskConfig, policy: FlowPolicy, base: list[int]
) -> None:
    assert outcomes(task, "usr", policy, frozen(policy), 3, seed=0) == base[:3]


def test_seed_and_split_choose_the_starts(task: TaskConfig, policy: FlowPolicy) -> None:
    starts: dict[object, list[bytes]] = {}
    encode = policy.encode
    for stream in ((Split.EVALUATE, 0), (Split.EVALUATE, 1), (Split.SELECT, 0)):
        seen: list[bytes] = []

        def spy(observations: Sequence[object], seen: list[bytes] = seen) -> Context:
            seen.append(observations[0].extra["bin_pose"].tobytes())  # type: ignore[attr-defined]
            return encode(observations)  # type: ignore[arg-type]

        watched = Broken(policy)
        watched.encode = spy  # type: ignore[method-assign]
        watched.decode = policy.decode  # type: ignore[method-assign]
        outcomes(task, "usr", watched, frozen(policy), 1, stream[1], stream[0])
        starts[stream] = seen[:1]
    assert len({tuple(first) for first in starts.values()}) == 3


def test_an_adapter_is_judged_by_its_mode_and_its_residual_is_carried_out(task: TaskConfig, policy: FlowPolicy) -> None:
    """6 mm more per chunk, as long as the hand is not above the lid, lift the hand over what it would catch."""
    adapter = Raising(policy.spec, 0.03)
    assert outcomes(task, "usr", policy, adapter, 3, seed=0) == [0, 0, 0]
    assert adapter.explored == {False}


def test_the_perturbed_world_is_another_one(task: TaskConfig, policy: FlowPolicy) -> None:
    rate = evaluate(task, "usr", policy, frozen(policy), trials=2, seed=0, world="real")
    assert rate.trials == 2
    with pytest.raises(ConfigError, match=r"no world 'reel'.*'real'"):
        evaluate(task, "usr", policy, frozen(policy), trials=1, seed=0, world="reel")


def test_a_policy_whose_chunks_are_refused_fails_its_trials(task: TaskConfig, policy: FlowPolicy) -> None:
    """And it ends: no other trial stands in for one that faulted."""
    told: list[int] = []
    rate = evaluate(task, "usr", Broken(policy), frozen(policy), trials=3, seed=0, progress=told.append)
    assert (rate.successes, rate.trials) == (0, 3)
    assert told == [1, 2, 3]


def test_a_faulted_trial_does_not_move_the_others(
    task: TaskConfig, policy: FlowPolicy, base: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one that would have been a success is made to fault."""
    fault, now = base.index(1) + 1, [0]
    assert fault < TRIALS
    reset = Cell.reset

    def noted(cell: Cell, episode: int) -> None:
        now[0] = episode
        reset(cell, episode)

    monkeypatch.setattr(Cell, "reset", noted)
    faulty = Broken(policy)
    refused = faulty.decode
    faulty.decode = lambda *given: (refused if now[0] == fault else policy.decode)(*given)  # type: ignore[method-assign]
    expected = [0 if trial == fault else won for trial, won in enumerate(base, 1)]
    assert outcomes(task, "usr", faulty, frozen(policy), TRIALS, seed=0) == expected
    assert now == [TRIALS]


def test_nothing_is_left_on_disk(
    task: TaskConfig, policy: FlowPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcomes(task, "usr", policy, frozen(policy), 1, seed=0)
    assert not list(tmp_path.iterdir())


def test_a_fixed_source_always_gives_its_adapter(policy: FlowPolicy) -> None:
    adapter = frozen(policy)
    assert [Fixed(adapter).next(episode) for episode in (1, 50)] == [adapter, adapter]


def test_a_witness_changes_nothing_and_remembers_each_state(
    task: TaskConfig, policy: FlowPolicy, base: list[int]
) -> None:
    witness = Witness(frozen(policy))
    assert outcomes(task, "usr", policy, witness, 4, seed=0) == base[:4]
    assert len(witness.contexts) > 4
    assert all(context.features.shape == (1, policy.spec.features) for context in witness.contexts)
