"""The oracles: what each steering interface could reach, on a few starts of the strict task."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.compositions.plan import load_policy
from robot_rl.config import TaskConfig, task_path
from robot_rl.policy.flow import FlowPolicy
from robot_rl.twins import Split
from sim_twin.lid_opening import ACTION_SPACE, LidOpeningTwin
from sim_twin.oracles import ORACLES, Oracle, run_oracle

EPISODES = 12


@pytest.fixture(scope="module")
def policy(strict: TaskConfig) -> FlowPolicy:
    return load_policy(strict, task_path("lid_opening_strict"))


@pytest.fixture(scope="module")
def broken(strict: TaskConfig) -> LidOpeningTwin:
    return LidOpeningTwin(strict)


def wins(name: str, policy: FlowPolicy, twin: LidOpeningTwin, task: TaskConfig) -> int:
    count = 0
    for episode in range(EPISODES):
        twin.reset(twin.draw(Split.SELECT, 0, episode))
        count += run_oracle(name, policy, twin, task.method("usr"), task.max_steps, np.random.default_rng(episode))
    return count


def test_steering_and_residual_reach_what_neither_the_base_nor_the_noise_does(
    policy: FlowPolicy, broken: LidOpeningTwin, strict: TaskConfig
) -> None:
    base, both = (wins(name, policy, broken, strict) for name in ("base", "ear_residual"))
    assert both >= EPISODES - 1
    assert base <= EPISODES // 2


@pytest.mark.parametrize("name", ORACLES)
def test_a_chunk_is_the_robots(name: str, policy: FlowPolicy, broken: LidOpeningTwin, strict: TaskConfig) -> None:
    broken.reset(broken.draw(Split.SELECT, 0, 0))
    chunk = Oracle(name, policy, broken, strict.method("usr"), np.random.default_rng(0)).chunk(broken.observe())
    assert chunk.shape == (policy.spec.horizon, 4)
    assert (ACTION_SPACE.low <= chunk).all()
    assert (chunk <= ACTION_SPACE.high).all()


def test_the_residual_oracle_adds_one_residual_within_alpha(
    policy: FlowPolicy, broken: LidOpeningTwin, strict: TaskConfig
) -> None:
    """With the same candidates, the difference to the chosen chunk is one row, no longer than the setting."""
    config = strict.method("usr")
    broken.reset(broken.draw(Split.SELECT, 0, 0))
    ear, residual = (
        Oracle(name, policy, broken, config, np.random.default_rng(0)).chunk(broken.observe())
        for name in ("ear", "ear_residual")
    )
    added = (residual - ear)[:, :3]
    assert (np.abs(added) <= np.array(config.residual_scale[:3]) + 1e-9).all()
    assert np.abs(added).max() > 0
    assert np.array_equal(ear[:, 3], residual[:, 3])
