"""Where to start: each value follows from what was measured."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from benchmarks.studies.two_modes import SPACE
from robot_rl.authority.suggestions import action_scale, noise_bound, practice_episode, spread, suggest
from robot_rl.compositions.plan import load_policy
from robot_rl.config import TaskConfig
from robot_rl.methods import METHODS
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.task_files import load_task, method_config, task_path
from robot_rl.types import Context
from tests.authority.bandit import LinearPolicy, contexts, interface


@pytest.fixture(scope="module")
def task() -> TaskConfig:
    return load_task("lid_opening")


@pytest.fixture(scope="module")
def policy(task: TaskConfig) -> FlowPolicy:
    return load_policy(task, task_path("lid_opening"))


def demonstrations(action: np.ndarray[Any, Any]) -> Demonstrations:
    """Two episodes of `action` [M, 4]."""
    steps, rng = len(action), np.random.default_rng(0)
    return Demonstrations(
        tcp_pose=np.concatenate([rng.uniform(0.3, 0.6, (steps, 3)), np.tile([0, 0, 0, 1.0], (steps, 1))], 1),
        gripper_width=np.full(steps, 0.03),
        bin_pose=np.tile([0.65, 0.0, 0.3, 0.1], (steps, 1)),
        action=action,
        episode=np.repeat([0, 1], [steps // 2, steps - steps // 2]),
    )


def advice(method: str, task: TaskConfig, policy: FlowPolicy, **settings: Any) -> dict[str, Any]:
    """Setting -> suggestion, with `settings` of the method changed."""
    task = task.model_copy(update={"methods": {method: task.methods[method].model_copy(update=settings)}})
    rng = np.random.default_rng(0)
    states = [
        Context(rng.standard_normal((1, 11)).astype(np.float32), rng.standard_normal((1, 16)).astype(np.float32))
        for _ in range(6)
    ]
    action = np.tile([0.004, -0.002, 0.001, 0.03], (60, 1))
    decoder = TorchFlow.from_policy(policy)
    given = suggest(method, task, policy, decoder, states, demonstrations(action), 7.0, rng, updates=2)
    return {one.setting: one for one in given}


def test_the_action_scale_is_that_of_displacements_alone() -> None:
    action = np.tile([0.003, -0.004, 0.0, 0.03], (20, 1))
    action[::2] *= -1
    np.testing.assert_allclose(action_scale(demonstrations(action), SPACE), [0.003, 0.004, 0.0, 0.0])


def test_alpha_is_a_step_of_the_demonstrations_a_chunk_or_a_step(task: TaskConfig, policy: FlowPolicy) -> None:
    constant = advice("policy-decorator", task, policy)["residual_scale"]
    assert constant.value == pytest.approx((0.0005, 0.00025, 0.00012, 0.0))
    assert constant.shown[0] == "0.5/0.25/0.12 mm a step, 4/2/1 mm a chunk"
    per_step = advice("policy-decorator", task, policy, residual_layout="per_step")["residual_scale"]
    assert per_step.value == pytest.approx((0.004, 0.002, 0.001, 0.0))


def test_h_is_a_share_of_the_chunks_that_the_protocol_brings(task: TaskConfig, policy: FlowPolicy) -> None:
    long, short = (advice(method, task, policy)["residual_horizon"].value for method in ("policy-decorator", "usr"))
    assert (long, short) == (210, 70)  # of 100 episodes of 7 chunks


def test_lambda_is_chosen_by_the_rms_rule(task: TaskConfig, policy: FlowPolicy) -> None:
    some, whole = (advice("zprl", task, policy, latent_rank=rank)["latent_scale"].value for rank in (4, 0))
    rows = range(0, 60, policy.spec.horizon)
    z = policy.encode([demonstrations(np.tile([0.0, 0, 0, 0.03], (60, 1))).observation(row) for row in rows]).z
    assert z is not None
    assert whole == pytest.approx(0.15 * np.sqrt(np.square(z).mean()) / 0.628, rel=1e-5)
    assert some == pytest.approx(whole * np.sqrt(z.shape[1] / 4), rel=1e-5)  # the same RMS of the whole shift


def test_a_utd_that_the_machine_cannot_reach_is_lowered(task: TaskConfig, policy: FlowPolicy) -> None:
    assert advice("dsrl-sac", task, policy, utd=0.01)["utd"].value == 0.01
    assert 1 <= advice("dsrl-sac", task, policy, utd=1e9)["utd"].value < 1e6


def test_a_tied_noise_has_its_norm_matched_in_a_corner_and_an_untied_one_on_average() -> None:
    rng = np.random.default_rng(0)
    bound = {}
    for layout in ("repeat", "full"):
        bound[layout], _ = noise_bound(LinearPolicy(), contexts(4), method_config("dsrl-na", noise_layout=layout), rng)
    assert bound["full"] == 1.5
    assert 1.0 <= bound["repeat"] <= 1.5


def test_chunks_spread_in_proportion_to_the_bound() -> None:
    narrow, wide = (
        spread(LinearPolicy(), contexts(3), interface("dsrl-na", noise_bound=bound), np.random.default_rng(0))
        for bound in (0.5, 1.5)
    )
    assert wide == pytest.approx(3 * narrow, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_advice(method: str, task: TaskConfig, policy: FlowPolicy) -> None:
    entry = METHODS[method]
    expected = {"utd"}
    expected |= {"noise_bound"} if "noise" in entry.steers and entry.kind == "squashed" else set()
    expected |= {"residual_scale", "residual_horizon"} if "residual_horizon" in entry.reads else set()
    expected |= {"latent_scale"} if entry.kind == "latent" else set()
    found = advice(method, task, policy)
    assert set(found) == expected
    assert all(one.reason for one in found.values())


def test_the_practice_episode_ends_and_goes_through_its_states() -> None:
    states = contexts(5)
    episode = practice_episode(interface("dsrl-na"), LinearPolicy(), states, 0.97)
    assert [t.terminal for t in episode] == [False] * 4 + [True]
    assert all(np.array_equal(a.next_features, b.features) for a, b in itertools.pairwise(episode))
