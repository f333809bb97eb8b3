"""Recorded demonstrations: successes only, without the calibration error, on a whole bin."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.config import TaskConfig
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.twins import load_object
from sim_twin.demos import AFTER_SUCCESS, demonstrate
from sim_twin.lid_opening import ACTION_SPACE, LidOpeningTwin
from sim_twin.starts import Start

COUNT = 6


@pytest.fixture(scope="module")
def recorded(strict: TaskConfig) -> tuple[Demonstrations, list[int]]:
    told: list[int] = []
    return demonstrate(strict, COUNT, 0, told.append), told


def test_as_many_as_were_asked_for_and_each_is_told(recorded: tuple[Demonstrations, list[int]]) -> None:
    demonstrations, told = recorded
    assert demonstrations.episodes == COUNT
    assert told == list(range(1, COUNT + 1))


def test_rows_belong_together(recorded: tuple[Demonstrations, list[int]]) -> None:
    rows, _ = recorded
    lengths = np.bincount(rows.episode)
    assert lengths.min() > AFTER_SUCCESS
    for array in (rows.tcp_pose, rows.gripper_width, rows.bin_pose, rows.action):
        assert len(array) == lengths.sum()
        assert np.isfinite(array).all()
    assert (ACTION_SPACE.low <= rows.action).all()
    assert (rows.action <= ACTION_SPACE.high).all()


def test_each_begins_at_home_and_rises_to_the_end(recorded: tuple[Demonstrations, list[int]]) -> None:
    rows, _ = recorded
    for episode in range(COUNT):
        path = rows.tcp_pose[rows.episode == episode]
        assert np.allclose(path[0, :3], [0.42, 0.0, 0.47], atol=1e-3)
        assert path[-1, 2] > 0.5, "the lid is up"


def test_both_ears_are_shown_also_where_one_will_be_broken(recorded: tuple[Demonstrations, list[int]]) -> None:
    rows, _ = recorded
    sides = []
    for episode in range(COUNT):
        tcp, (x, y, _, yaw) = rows.tcp_pose[rows.episode == episode][-1], rows.bin_pose[rows.episode == episode][0]
        sides.append(np.sign(np.cos(yaw) * (tcp[1] - y) - np.sin(yaw) * (tcp[0] - x)))
    assert {-1.0, 1.0} == set(sides)


def test_the_robot_they_are_taken_on_is_calibrated(strict: TaskConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[float] = []
    reset = LidOpeningTwin.reset

    def noted(twin: LidOpeningTwin, start: Start) -> None:
        errors.append(start.height_error)
        reset(twin, start)

    monkeypatch.setattr(LidOpeningTwin, "reset", noted)
    demonstrate(strict, 2, 0, lambda done: None)
    assert len(errors) > 2, "one in the constructor, one a demonstration"
    assert set(errors[1:]) == {0.0}


def test_a_seed_gives_the_same_demonstrations(task: TaskConfig) -> None:
    first, second, other = (demonstrate(task, 1, seed, lambda done: None) for seed in (0, 0, 1))
    assert np.array_equal(first.action, second.action)
    assert first.action.shape != other.action.shape or not np.array_equal(first.action, other.action)


def test_the_task_file_names_it(task: TaskConfig) -> None:
    assert load_object(task.demonstrator) is demonstrate
