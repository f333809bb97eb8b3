"""Who knows the answer to lid opening, and what its controllers make of it, on a few starts of the strict task."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.authority.ceilings import oracle_maker, rollouts
from robot_rl.authority.guide import Guide, load_guide
from robot_rl.authority.interface import interface_of
from robot_rl.authority.oracle import Oracle
from robot_rl.compositions.plan import load_policy
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.policy.flow import FlowPolicy
from robot_rl.task_files import method_config, task_path
from robot_rl.twins import Split
from sim_twin.lid_opening import ACTION_SPACE
from sim_twin.oracles import ORACLES, LidOpeningGuide, named_oracle

EPISODES = 10


@pytest.fixture(scope="module")
def policy(strict: TaskConfig) -> FlowPolicy:
    return load_policy(strict, task_path("lid_opening_strict"))


@pytest.fixture(scope="module")
def guide(strict: TaskConfig) -> Guide:
    return load_guide(strict)


def wins(name: str, policy: FlowPolicy, task: TaskConfig) -> int:
    guide, make = named_oracle(name, task, policy)
    return sum(episode.success for episode in rollouts(make, guide, policy, task.max_steps, EPISODES, 0))


def test_steering_and_residual_reach_what_neither_the_base_nor_the_ear_alone_does(
    policy: FlowPolicy, strict: TaskConfig
) -> None:
    base, ear, both = (wins(name, policy, strict) for name in ("base", "ear", "ear_residual"))
    assert both == EPISODES
    assert base <= EPISODES // 2
    assert ear <= EPISODES - 3


def test_an_unbounded_residual_at_each_step_succeeds(policy: FlowPolicy, guide: Guide, strict: TaskConfig) -> None:
    """The base's noise is random, and the oracle follows the expert all the same."""
    config = method_config("residual-rl", residual_layout="per_step")
    make = oracle_maker(interface_of(policy.spec, config), policy, guide)
    assert all(episode.success for episode in rollouts(make, guide, policy, strict.max_steps, EPISODES, 0))


def test_a_residual_of_no_size_is_the_base(policy: FlowPolicy, guide: Guide, strict: TaskConfig) -> None:
    config = method_config("policy-decorator", residual_layout="constant", residual_scale=(1e-9, 0.0, 0.0, 0.0))
    oracle = oracle_maker(interface_of(policy.spec, config), policy, guide)
    _, base = named_oracle("base", strict, policy)
    chunks = []
    for make in (oracle, base):
        guide.reset(Split.SELECT, 0, 1)
        observation = guide.twin.observe()
        chunks.append(make(np.random.default_rng(5))(observation, policy.encode([observation])))
    np.testing.assert_allclose(chunks[0], np.clip(chunks[1], ACTION_SPACE.low, ACTION_SPACE.high), atol=1e-7)


@pytest.mark.parametrize("name", ORACLES)
def test_a_chunk_is_the_robots(name: str, policy: FlowPolicy, strict: TaskConfig) -> None:
    guide, make = named_oracle(name, strict, policy)
    guide.reset(Split.SELECT, 0, 0)
    observation = guide.twin.observe()
    chunk = make(np.random.default_rng(0))(observation, policy.encode([observation]))
    assert chunk.shape == (policy.spec.horizon, 4)
    assert (chunk >= np.array(ACTION_SPACE.low) - 1e-7).all()
    assert (chunk <= np.array(ACTION_SPACE.high) + 1e-7).all()


@pytest.mark.parametrize("blind", [False, True])
def test_the_residual_lies_within_alpha(blind: bool, policy: FlowPolicy, guide: Guide, strict: TaskConfig) -> None:
    """Far from the way that it wants, at the start, it is one row, and at its bound."""
    config = strict.method("policy-decorator")
    interface = interface_of(policy.spec, config)
    guide.reset(Split.SELECT, 0, 0)
    observation = guide.twin.observe()
    context = policy.encode([observation])
    oracle = Oracle(interface, policy, guide, np.random.default_rng(0), blind)
    base = interface.draw_base(np.random.default_rng(1), 12 if blind else 1)
    steer = oracle._search(context, base, guide.plan(observation, 8).reshape(1, -1) @ oracle._way)
    residual = interface.layout.split(steer[None])[1][0]
    assert (np.abs(residual) <= np.array(config.residual_scale) * (1 + 1e-6)).all()
    assert np.ptp(residual, axis=0).max() == 0
    assert np.abs(residual).max() == pytest.approx(0.00075, rel=1e-5)


def test_without_the_fault_both_ears_are_whole_and_the_height_is_right(strict: TaskConfig) -> None:
    told, mended = LidOpeningGuide(strict), LidOpeningGuide(strict, faultless=True)
    for guide in (told, mended):
        guide.reset(Split.SELECT, 0, 3)
    assert told.twin.start.height_error != 0
    assert mended.twin.start.height_error == 0
    assert (told.twin.start.x, told.twin.start.yaw) == (mended.twin.start.x, mended.twin.start.yaw)
    ways = [guide.plan(guide.twin.observe(), 8) for guide in (told, mended)]
    assert [len(way) for way in ways] == [1, 2]


def test_planning_does_not_move_the_expert_on(guide: Guide) -> None:
    guide.reset(Split.SELECT, 0, 0)
    observation = guide.twin.observe()
    first = guide.plan(observation, 30)
    assert np.array_equal(guide.plan(observation, 30), first)


def test_chunks_are_judged_by_where_they_go_in(guide: Guide) -> None:
    """The expert's own way to the ear is right; 1 mm a step higher or to the side is off by as many as there are."""
    guide.reset(Split.SELECT, 0, 0)
    observation = guide.twin.observe()
    chunks = np.repeat(guide.plan(observation, 40)[:1], 3, 0)
    right = guide.judge(observation, chunks)
    assert right["height_off_mm"] == pytest.approx(np.zeros(3), abs=0.5)
    assert right["side_off_mm"] == pytest.approx(np.zeros(3), abs=0.5)
    chunks[1, :5, 2] += 0.001
    chunks[2, :5, :2] += 0.001 * np.array([-1, 1]) / np.sqrt(2)
    moved = guide.judge(observation, chunks)
    assert moved["height_off_mm"] == pytest.approx([0, 5, 0], abs=0.5)
    assert moved["side_off_mm"][1] == pytest.approx(0.0, abs=0.5)
    assert moved["side_off_mm"][2] > 2


def test_a_chunk_is_not_judged_once_the_finger_is_in(guide: Guide, strict: TaskConfig) -> None:
    guide.reset(Split.SELECT, 0, 0)
    for _ in range(strict.max_steps):
        guide.follow(guide.twin.observe())
        guide.twin.apply(guide.plan(guide.twin.observe(), 1)[0, 0])
        if guide.twin.truth().success:
            break
    assert guide.twin.truth().success
    assert guide.judge(guide.twin.observe(), guide.plan(guide.twin.observe(), 8)) == {}


def test_a_chunk_that_does_not_come_to_the_ear_is_not_judged(guide: Guide) -> None:
    guide.reset(Split.SELECT, 0, 0)
    assert guide.judge(guide.twin.observe(), np.zeros((3, 8, 4))) == {}


def test_what_is_no_guide_is_refused(strict: TaskConfig, policy: FlowPolicy) -> None:
    with pytest.raises(ConfigError, match="names no oracle"):
        load_guide(strict.model_copy(update={"oracle": None}))
    with pytest.raises(SpecMismatch, match="not a guide"):
        load_guide(strict.model_copy(update={"oracle": "sim_twin.demos:demonstrate"}))
    with pytest.raises(ConfigError, match="did you mean 'ear'"):
        named_oracle("eer", strict, policy)
