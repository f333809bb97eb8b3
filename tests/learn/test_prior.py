"""Demonstrations as prior data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.errors import IntegrityError, SpecMismatch
from robot_rl.learn.learner import Learner
from robot_rl.learn.prior import load_prior
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.task_files import TASKS_DIR, method_config

CONFIG = method_config("rlpd", hidden=16, critics=2)


@pytest.fixture(scope="module")
def policy() -> FlowPolicy:
    return FlowPolicy.load(TASKS_DIR / "lid_opening.safetensors")


@pytest.fixture
def recorded() -> Demonstrations:
    """Two episodes of 20 and 5 steps."""
    rng, steps = np.random.default_rng(0), 25
    pose = np.tile(np.array([0.5, 0, 0.5, 0, 0, 0, 1.0]), (steps, 1))
    pose[:, :3] += 0.01 * rng.standard_normal((steps, 3))
    action = np.concatenate([0.005 * rng.uniform(-1, 1, (steps, 3)), np.full((steps, 1), 0.04)], 1)
    bins = np.tile(np.array([0.65, 0.0, 0.3, 0.1]), (steps, 1))
    return Demonstrations(pose, np.full(steps, 0.04), bins, action, np.repeat([4, 9], [20, 5]))


def test_a_demonstration_is_a_successful_episode_of_chunks(
    tmp_path: Path, policy: FlowPolicy, recorded: Demonstrations
) -> None:
    recorded.save(tmp_path / "demos.npz")
    layout, horizon = SteeringLayout(policy.spec, CONFIG), policy.spec.horizon
    episodes = load_prior(str(tmp_path / "demos.npz"), policy, layout, 0.9)
    assert [[t.episode for t in episode] for episode in episodes] == [[-1] * 3, [-2]]
    first = episodes[0]
    assert [t.k_executed for t in first] == [horizon, horizon, 20 - 2 * horizon]
    assert [t.terminal for t in first] == [False, False, True]
    assert np.allclose(first[1].executed_chunk, recorded.action[horizon : 2 * horizon], atol=1e-7)
    assert np.array_equal(first[0].next_features, first[1].features)
    assert not np.array_equal(first[2].features, first[2].next_features)
    learner = Learner(policy.spec, "rlpd", CONFIG, TorchFlow.from_policy(policy), seed=0)
    learner.add_demonstrations(episodes)
    learner.set_labels({})
    assert learner.replay.sampleable == 4


def test_a_file_that_is_none_is_an_integrity_error(tmp_path: Path, policy: FlowPolicy) -> None:
    with pytest.raises(IntegrityError, match="demonstrations"):
        load_prior(str(tmp_path / "nothing.npz"), policy, SteeringLayout(policy.spec, CONFIG), 0.9)


def test_demonstrations_of_another_action_are_refused(
    tmp_path: Path, policy: FlowPolicy, recorded: Demonstrations
) -> None:
    replace(recorded, action=recorded.action[:, :2]).save(tmp_path / "two.npz")
    with pytest.raises(SpecMismatch, match="expected 4 entries of an action, got 2"):
        load_prior(str(tmp_path / "two.npz"), policy, SteeringLayout(policy.spec, CONFIG), 0.97)
