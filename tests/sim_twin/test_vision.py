"""The twin with eyes, its demonstrations, and a policy by sight in the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_rl.clock import RealClock
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.task_files import load_task
from robot_rl.twins import Split, load_object, load_twin
from sim_twin.demos import demonstrate as demonstrate_blindly
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.vision.demos import demonstrate
from sim_twin.vision.twin import SeeingTwin


@pytest.fixture(scope="module")
def task() -> TaskConfig:
    return load_task("lid_opening_visual")


def changed(task: TaskConfig, backbone: dict[str, Any] | None) -> TaskConfig:
    return task.model_copy(update={"policy": task.policy.model_copy(update={"backbone": backbone})})


def test_the_task_is_lid_opening_seen_by_other_eyes(task: TaskConfig) -> None:
    """Same bin, worlds, limits and methods: results by sight can be compared with those by state."""
    plain = load_task("lid_opening")
    for part in ("limits", "methods", "protocol", "guard", "max_steps", "home"):
        assert getattr(task, part) == getattr(plain, part), part
    assert {**task.scene, "cameras": None} == {**plain.scene, "cameras": None}


def test_its_pictures_are_of_the_moment_they_were_asked_for(task: TaskConfig) -> None:
    twin = SeeingTwin(task)
    twin.reset(twin.draw(Split.TRAIN, 0, 0))
    before = twin.observe()
    assert list(before.images) == ["front", "wrist"]
    assert "front" in before.images
    assert "side" not in before.images
    for _ in range(4):
        twin.apply(np.array([0.012, 0.0, 0.0, 0.04]))
    after = twin.observe()
    late, first = before.images["wrist"], after.images["wrist"]  # drawn now, of then
    assert (late.dtype, late.shape) == (np.uint8, (96, 96, 3))
    assert np.abs(late.astype(int) - first).mean() > 1.0
    assert before.images["wrist"] is late
    twin.reset(twin.start)
    np.testing.assert_array_equal(twin.observe().images["wrist"], late)
    assert before.stamps_ns["front"] == before.stamps_ns["robot"]
    twin.close()


def test_eyes_change_nothing_of_what_happens(task: TaskConfig) -> None:
    seeing, blind = SeeingTwin(task), LidOpeningTwin(task)
    for twin in (seeing, blind):
        twin.reset(twin.draw(Split.TRAIN, 3, 1))
        for _ in range(5):
            twin.apply(np.array([0.01, 0.002, 0.0, 0.04]))
    np.testing.assert_array_equal(seeing.joint_positions, blind.joint_positions)
    np.testing.assert_array_equal(seeing.observe().extra["bin_pose"], blind.observe().extra["bin_pose"])


def test_at_real_time_pace_its_cameras_are_another_process(task: TaskConfig) -> None:
    assert not load_twin(task, "twin", RealClock()).observe().images


def test_what_it_cannot_look_through_is_named(task: TaskConfig) -> None:
    vision = dict((task.policy.backbone or {})["vision"])
    with pytest.raises(ConfigError, match="no camera 'frnt'; did you mean 'front'"):
        SeeingTwin(changed(task, {"vision": {**vision, "cameras": ["frnt"]}}))
    with pytest.raises(ConfigError, match="vision"):
        SeeingTwin(changed(task, None))


def test_demonstrations_are_the_same_with_frames(task: TaskConfig) -> None:
    seen = load_object(task.demonstrator)(task, 1, 5, lambda done: None)
    assert isinstance(seen, SeenDemonstrations)
    blind = demonstrate_blindly(task, 1, 5, lambda done: None)
    for name in ("tcp_pose", "gripper_width", "bin_pose", "action", "episode"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(blind, name))
    assert {camera: frames.shape[1:] for camera, frames in seen.frames.items()} == dict.fromkeys(
        ("front", "wrist"), (96, 96, 3)
    )
    moved = np.abs(np.diff(seen.frames["wrist"].astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert (moved > 0).mean() > 0.9
    assert demonstrate is load_object(task.demonstrator)
