"""Randomised worlds: an episode's number alone draws its own, and to enter one is to have built it."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
import pytest

from robot_rl.clock import SteppedClock
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.task_files import load_task
from robot_rl.twins import Split, load_randomised, randomisation
from robot_rl.types import Array
from sim_twin.config import SceneConfig, parse_scene
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.randomised import RandomStart, RandomWorlds, Ranges, draw_random_start, ranges_of
from sim_twin.starts import draw_start
from sim_twin.vision.twin import SeeingTwin

NEUTRAL = {
    "mass": 1, "friction": 1, "hinge": 1, "gain": 1, "tracking": 1, "delay_steps": 0, "height_m": 0, "camera_m": 0,
}  # fmt: skip
DRAWS = 400
DERIVED = 1e-9
"""Relative difference of what MuJoCo works out of masses and gains, at another place in the order of its sums."""


@pytest.fixture(scope="module")
def scene(task: TaskConfig) -> SceneConfig:
    return parse_scene(task.scene)


@pytest.fixture(scope="module")
def shared(task: TaskConfig) -> RandomWorlds:
    twin: Any = load_randomised(task, randomisation(task), SteppedClock())
    return twin


def start(twin: RandomWorlds, episode: int, seed: int = 0) -> RandomStart:
    drawn = twin.draw(Split.TRAIN, seed, episode)
    assert isinstance(drawn, RandomStart)
    return drawn


def arrays(model: mujoco.MjModel) -> dict[str, Array]:
    """Every array of numbers of a model."""
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value.copy() for name, value in found.items() if isinstance(value, np.ndarray) and value.size}


# --- what is drawn --------------------------------------------------------------------------------------------------


def test_an_episodes_world_is_its_own_and_the_same_every_time(scene: SceneConfig) -> None:
    ranges = Ranges()
    worlds = [draw_random_start(Split.TRAIN, 0, episode, scene, ranges) for episode in range(20)]
    assert worlds == [draw_random_start(Split.TRAIN, 0, episode, scene, ranges) for episode in range(20)]
    assert len({drawn.world.model_dump_json() for drawn in worlds}) == len(worlds)
    elsewhere = [draw_random_start(*stream, 3, scene, ranges).world for stream in ((2, 0), (3, 0), (1, 1))]
    assert worlds[3].world not in elsewhere


def test_the_bin_stands_where_the_nominal_twin_would_put_it(scene: SceneConfig) -> None:
    for episode in range(20):
        nominal = draw_start(Split.TRAIN, 5, episode, scene.starts, scene.world("twin"))
        drawn = draw_random_start(Split.TRAIN, 5, episode, scene, Ranges())
        assert (drawn.x, drawn.y, drawn.yaw, drawn.seed) == (nominal.x, nominal.y, nominal.yaw, nominal.seed)
        assert drawn.height_error == drawn.world.height_error


@pytest.mark.parametrize(
    ("value", "range_", "of"),
    [
        ("body_mass", "mass", "factor"), ("lid_mass", "mass", "factor"), ("friction", "friction", "factor"),
        ("lid_damping", "hinge", "factor"), ("lid_friction", "hinge", "factor"), ("gain", "gain", "factor"),
        ("damping", "tracking", "factor"), ("height_error", "height_m", "shift"),
    ],
)  # fmt: skip
def test_a_range_is_filled_evenly_to_both_ends_and_never_left(
    scene: SceneConfig, value: str, range_: str, of: str
) -> None:
    ranges, nominal = Ranges(), getattr(scene.world("twin"), value)
    drawn = [getattr(draw_random_start(1, 0, n, scene, ranges).world, value) for n in range(DRAWS)]
    most = getattr(ranges, range_)
    places = [math.log(v / nominal) / math.log(most) if of == "factor" else (v - nominal) / most for v in drawn]
    assert -1 <= min(places) < -0.95
    assert 0.95 < max(places) <= 1
    assert abs(float(np.mean(places))) < 4 / math.sqrt(3 * DRAWS)  # four standard errors about the nominal value
    real = getattr(scene.world("real"), value)
    assert real not in drawn, "the world that stands for the robot is none of those it is trained in"


def test_a_delay_is_drawn_in_whole_steps(scene: SceneConfig) -> None:
    delays = [draw_random_start(1, 0, n, scene, Ranges(delay_steps=2)).world.delay_steps for n in range(100)]
    assert {0, 1, 2} == set(delays)


def test_what_is_not_randomised_is_nominal_in_every_digit(scene: SceneConfig) -> None:
    drawn = draw_random_start(1, 0, 1, scene, Ranges.model_validate(NEUTRAL))
    assert drawn.world == scene.world("twin")
    assert not np.any(drawn.cameras)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"frictoin": 1.2}, "frictoin: unknown key; did you mean 'friction'"),
        ({"mass": 0.5}, "mass: .* greater than or equal to 1 .*got 0.5"),
        ({"delay_steps": 0.5}, "delay_steps: .* valid integer"),
        ({"gain": math.nan}, "gain: .* finite"),
    ],
)
def test_a_range_that_cannot_be_meant_is_named(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ranges_of(raw)


def test_ranges_that_are_not_given_are_the_defaults(task: TaskConfig) -> None:
    assert randomisation(task, {"gain": 2}) == {**Ranges().model_dump(), "gain": 2.0}


# --- what is entered ------------------------------------------------------------------------------------------------


def test_to_enter_a_world_is_to_have_built_it(task: TaskConfig, shared: RandomWorlds) -> None:
    drawn = next(drawn for drawn in (start(shared, n) for n in range(9)) if drawn.world.delay_steps)
    worlds = {**task.scene["worlds"], "twin": drawn.world.model_dump()}
    built = LidOpeningTwin(task.model_copy(update={"scene": {**task.scene, "worlds": worlds}}))
    built.model.cam_pos[:] += np.array(drawn.cameras)
    mujoco.mj_setConst(built.model, mujoco.MjData(built.model))
    for twin in (built, shared):
        twin.reset(drawn)
    there, here = arrays(built.model), arrays(shared.model)
    assert there.keys() == here.keys()
    for name, array in here.items():
        np.testing.assert_allclose(array, there[name], rtol=DERIVED, atol=1e-12, err_msg=name)
    began = shared.observe().tcp_pose
    for twin in (built, shared):
        for _ in range(15):
            twin.apply(np.array([0.01, 0.0, -0.005, 0.04]))
    assert np.abs(shared.observe().tcp_pose - built.observe().tcp_pose).max() < 1e-9
    assert np.abs(shared.observe().tcp_pose - began).max() > 0.01


def test_worlds_leave_nothing_behind(shared: RandomWorlds) -> None:
    shared.reset(start(shared, 1))
    before = arrays(shared.model)
    for episode in (2, 3, 1):
        shared.reset(start(shared, episode))
        same = all(np.array_equal(array, before[name]) for name, array in arrays(shared.model).items())
        assert same is (episode == 1)


def test_without_ranges_it_is_the_nominal_twin_bit_for_bit(twin: LidOpeningTwin, shared: RandomWorlds) -> None:
    shared.ranges = Ranges.model_validate(NEUTRAL)
    try:
        for each in (twin, shared):
            each.reset(each.draw(Split.TRAIN, 0, 4))
            for _ in range(10):
                each.apply(np.array([0.01, 0.002, -0.005, 0.04]))
    finally:
        shared.ranges = Ranges()
    for name, array in arrays(shared.model).items():
        np.testing.assert_array_equal(array, getattr(twin.model, name), err_msg=name)
    np.testing.assert_array_equal(twin.joint_positions, shared.joint_positions)


def test_a_twin_that_sees_is_randomised_too() -> None:
    visual = load_task("lid_opening_visual")
    twin: Any = load_randomised(visual, randomisation(visual), SteppedClock())
    assert isinstance(twin, SeeingTwin)
    drawn = start(twin, 1)
    twin.reset(drawn)
    assert twin.world == drawn.world
    assert np.any(drawn.cameras)


def test_only_a_twin_is_randomised(task: TaskConfig) -> None:
    with pytest.raises(SpecMismatch, match="is not a twin"):
        load_randomised(task.model_copy(update={"twin": "sim_twin.starts:Start"}), {}, SteppedClock())
    with pytest.raises(ConfigError, match="expected MODULE:NAME of an installed package"):
        randomisation(task.model_copy(update={"twin": "robot_rl.testing.point_robot:PointRobot"}))
