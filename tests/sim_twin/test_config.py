"""The scene section of a task file: what is wrong is named, with the nearest key."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError
from sim_twin.config import parse_scene
from sim_twin.lid_opening import LidOpeningTwin


def changed(task: TaskConfig, place: str, value: object, *, instead_of: str | None = None) -> dict[str, Any]:
    """The task's scene with `value` at the dotted `place`, and without the key `instead_of` beside it."""
    scene = deepcopy(task.scene)
    *folders, name = place.split(".")
    inner = scene
    for folder in folders:
        inner = inner[folder]
    inner[name] = value
    if instead_of is not None:
        del inner[instead_of]
    return scene


@pytest.mark.parametrize(
    ("place", "instead_of", "nearest"),
    [
        ("table_hight", "table_height", "table_height"),
        ("bin.ear_witdh", "ear_width", "ear_width"),
        ("worlds.twin.fricton", "friction", "friction"),
        ("cameras.front.fov", "fovy", "fovy"),
        ("expert.hight_bias", "height_bias", "height_bias"),
    ],
)
def test_a_mistyped_key_names_its_place_and_the_nearest(
    task: TaskConfig, place: str, instead_of: str, nearest: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{place}: unknown key.*'{nearest}'"):
        parse_scene(changed(task, place, 1.0, instead_of=instead_of))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("worlds.twin.timestep", 0.01),
        ("worlds.twin.delay_steps", -1),
        ("bin.broken_ear", "both"),
        ("expert.left_share", 1.5),
        ("starts.x", [0.6]),
    ],
)
def test_a_value_out_of_range_names_its_place(task: TaskConfig, place: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"scene: {place}"):
        parse_scene(changed(task, place, value))


def test_a_mistyped_world_names_the_nearest(task: TaskConfig) -> None:
    with pytest.raises(ConfigError, match=r"no world 'reel'.*'real'"):
        parse_scene(task.scene).world("reel")
    with pytest.raises(ConfigError, match=r"no world 'reel'.*'real'"):
        LidOpeningTwin(task, "reel")


def test_the_slot_is_where_a_fingertip_goes(task: TaskConfig) -> None:
    shape = parse_scene(task.scene).bin
    assert shape.height - shape.ear_drop - shape.slot < shape.slot_height < shape.height - shape.ear_drop
