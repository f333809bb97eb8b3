"""The twin as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim_twin  # noqa: F401  (registers the environments)
from robot_rl.errors import ConfigError
from robot_rl.types import Array
from sim_twin.env import LidOpeningEnv
from sim_twin.expert import Expert
from sim_twin.lid_opening import ACTION_SPACE

IDS = ("robot_rl/LidOpening-v0", "robot_rl/LidOpeningStrict-v0")


@pytest.fixture(scope="module")
def env() -> Iterator[LidOpeningEnv]:
    made = gymnasium.make(IDS[0], render_mode="rgb_array").unwrapped
    assert isinstance(made, LidOpeningEnv)
    yield made
    made.close()


@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_own_checks_have_nothing_to_say(name: str) -> None:
    """Pytest makes their warnings errors."""
    made = gymnasium.make(name, render_mode="rgb_array")
    check_env(made.unwrapped)
    made.close()


def test_the_ids_are_two_tasks() -> None:
    broken = []
    for name in IDS:
        made = gymnasium.make(name)
        broken.append(made.unwrapped._twin.scene.bin.broken_ear)  # type: ignore[attr-defined]
        made.close()
    assert broken == ["none", "right"]


def rollout(env: LidOpeningEnv, seed: int, steps: int = 15) -> list[Array]:
    env.reset(seed=seed)
    rng = np.random.default_rng(0)
    return [env.step(rng.uniform(-1, 1, 4).astype(np.float32))[0]["tcp_pose"] for _ in range(steps)]


def test_a_seed_is_an_episode(env: LidOpeningEnv) -> None:
    first, again, other = rollout(env, 1), rollout(env, 1), rollout(env, 2)
    assert np.array_equal(first, again)
    bins = []
    for seed in (1, 2):
        observation, _ = env.reset(seed=seed)
        bins.append(observation["bin_pose"])
    assert not np.array_equal(bins[0], bins[1])
    assert len(first) == len(other)


def test_resets_without_a_seed_go_on_through_its_stream(env: LidOpeningEnv) -> None:
    places = [env.reset(seed=4)[0]["bin_pose"], env.reset()[0]["bin_pose"], env.reset()[0]["bin_pose"]]
    again = [env.reset(seed=4)[0]["bin_pose"], env.reset()[0]["bin_pose"], env.reset()[0]["bin_pose"]]
    assert np.array_equal(places, again)
    assert len({tuple(place) for place in places}) == 3


def test_splits_are_disjoint_and_an_episode_can_be_named(env: LidOpeningEnv) -> None:
    train, _ = env.reset(seed=0)
    evaluate, _ = env.reset(seed=0, options={"split": "evaluate"})
    assert not np.array_equal(train["bin_pose"], evaluate["bin_pose"])
    env.reset(seed=0)
    second, _ = env.reset()
    named, _ = env.reset(seed=0, options={"episode": 1})
    assert np.array_equal(second["bin_pose"], named["bin_pose"])


def test_a_mistyped_split_names_the_nearest(env: LidOpeningEnv) -> None:
    with pytest.raises(ConfigError, match=r"no split 'evalute'.*'EVALUATE'"):
        env.reset(options={"split": "evalute"})


def test_an_action_of_one_is_the_robots_largest_and_more_is_clipped(env: LidOpeningEnv) -> None:
    sent: list[Array] = []
    apply = env._twin.apply

    def spy(target: Array) -> None:
        sent.append(target)
        apply(target)

    env.reset(seed=0)
    env._twin.apply = spy  # type: ignore[method-assign]
    try:
        for scale in (1.0, 5.0, -1.0):
            env.step(np.full(4, scale, np.float32))
        env.step(np.zeros(4, np.float32))
    finally:
        env._twin.apply = apply  # type: ignore[method-assign]
    assert np.allclose(sent[0], ACTION_SPACE.high)
    assert np.allclose(sent[1], ACTION_SPACE.high)
    assert np.allclose(sent[2], ACTION_SPACE.low)
    assert np.allclose(sent[3], [0.0, 0.0, 0.0, 0.04])


def act(env: LidOpeningEnv, error: float) -> tuple[list[tuple[float, bool, bool]], dict[str, Any]]:
    """The expert, told of the height error but for `error` m, until the episode is over."""
    env.reset(seed=0)
    config = env._twin.scene.expert.model_copy(update={"height_bias": 0.010 - error, "height_std": 0.0, "ears": "left"})
    expert = Expert(env._twin.scene, config, np.random.default_rng(0))
    steps = []
    for _ in range(200):
        action = (expert.act(env._twin.observe()) - env._mid) / env._half
        observation, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observation)
        steps.append((reward, terminated, truncated))
        if terminated or truncated:
            break
    return steps, info


def test_the_reward_is_one_at_the_end_of_a_success(env: LidOpeningEnv) -> None:
    steps, info = act(env, 0.0)
    assert steps[-1] == (1.0, True, False)
    assert set(steps[:-1]) == {(0.0, False, False)}
    assert info["success"]
    assert info["lid_angle"] > 1.3


def test_a_success_in_the_last_step_is_no_truncation(env: LidOpeningEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, _ = act(env, 0.0)
    monkeypatch.setattr(env, "_task", env._task.model_copy(update={"max_steps": len(steps)}))
    assert act(env, 0.0)[0][-1] == (1.0, True, False)


def test_a_bin_that_is_pushed_away_ends_the_episode_without_reward(env: LidOpeningEnv) -> None:
    steps, info = act(env, 0.012)
    assert steps[-1] == (0.0, True, False)
    assert not info["success"]
    assert info["bin_moved"] > 0.04


def test_time_runs_out_as_a_truncation(env: LidOpeningEnv) -> None:
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(64)]
    assert ends == [(False, False)] * 63 + [(False, True)]
    env.reset(seed=0)
    assert env.step(np.zeros(4, np.float32))[2:4] == (False, False)


def test_render_is_a_picture(env: LidOpeningEnv) -> None:
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (240, 320, 3)
    assert picture.std() > 15
