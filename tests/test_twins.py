"""Twins by name, and a twin at work on a stream of starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from robot_rl.clock import SteppedClock
from robot_rl.config import TaskConfig
from robot_rl.control.ports import Twin
from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.protocols import Robot
from robot_rl.task_files import load_task
from robot_rl.testing.point_robot import PointRobot
from robot_rl.twins import HARDWARE, TWIN, Cell, Split, hardware, load_object, load_twin
from sim_twin.lid_opening import Truth


@pytest.fixture(scope="module")
def task() -> TaskConfig:
    return load_task("lid_opening")


def no_twin(task: TaskConfig, world: str, clock: SteppedClock) -> PointRobot:
    """A factory of a robot that is no twin."""
    return PointRobot(clock)


def test_a_task_loads_its_twin_on_the_clock_it_is_given(task: TaskConfig) -> None:
    clock = SteppedClock()
    twin = load_twin(task, "twin", clock)
    assert isinstance(twin, Robot)
    before = clock.now_ns()
    twin.hold()
    assert clock.now_ns() > before


@pytest.mark.parametrize(
    "name",
    [
        "no_such_package:Twin",
        "sim_twin.lid_opening:NoSuchTwin",
        "sim_twin.lid_opening",
        "",
        "sim_twin..lid:Twin",
        ":x",
        ".x:y",
    ],
)
def test_what_cannot_be_loaded_is_named_with_what_to_install(task: TaskConfig, name: str) -> None:
    with pytest.raises(ConfigError, match=r"expected MODULE:NAME of an installed package \(pip install 'robot-rl"):
        load_twin(task.model_copy(update={"twin": name}), "twin", SteppedClock())


def test_a_robot_that_is_no_twin_is_refused(task: TaskConfig) -> None:
    named = task.model_copy(update={"twin": f"{__name__}:no_twin"})
    with pytest.raises(SpecMismatch, match="is not a twin"):
        load_twin(named, "twin", SteppedClock())


def test_an_object_is_found_by_its_name() -> None:
    assert load_object("robot_rl.twins:Split") is Split


@dataclass
class NotedTwin:
    """Notes which starts it was reset to."""

    resets: list[tuple[str, tuple[int, int, int]]] = field(default_factory=list)

    def draw(self, split: int, seed: int, episode: int) -> tuple[int, int, int]:
        return split, seed, episode

    def reset(self, start: Any) -> None:
        self.resets.append(("whole", start))

    def reset_objects(self, start: Any) -> None:
        self.resets.append(("objects", start))

    def truth(self) -> Truth:
        return Truth(0.2, 0.0, 0.0, success=False, failed=True)


def cell(**settings: Any) -> tuple[Cell, NotedTwin]:
    twin: Any = NotedTwin()
    return Cell(twin, 5, **settings), twin


def test_a_cell_resets_the_arm_too_and_trains_if_nothing_else_is_said() -> None:
    subject, twin = cell()
    subject.reset(3)
    assert twin.resets == [("whole", (Split.TRAIN, 5, 3))]
    port: Twin = subject  # what the actor takes
    assert port.is_twin


def test_a_cell_can_leave_the_arm_alone_and_evaluate() -> None:
    subject, twin = cell(split=Split.EVALUATE, whole=False)
    subject.reset(3)
    assert twin.resets == [("objects", (Split.EVALUATE, 5, 3))]
    assert subject.truth() == twin.truth()
    subject.free(3)
    assert twin.resets[1:] == [("whole", (Split.EVALUATE, 5, 3))]


def test_the_splits_are_four_different_numbers() -> None:
    assert sorted(Split) == [0, 1, 2, 3]


def not_a_twin(*arguments: object) -> None:
    """What a task file might name by mistake, or on purpose."""
    raise AssertionError("called")


def test_what_is_no_twin_is_not_even_called(task: TaskConfig) -> None:
    named = task.model_copy(update={"twin": f"{__name__}:not_a_twin"})
    with pytest.raises(SpecMismatch, match="is not a twin"):
        load_twin(named, "twin", SteppedClock())


def test_every_name_of_a_robot_is_usable_or_says_what_it_lacks() -> None:
    assert hardware(TWIN).lockstep
    for name, robot in HARDWARE.items():
        if robot.missing:
            with pytest.raises(ConfigError, match=f"hw {name}: {robot.missing[:20]}"):
                hardware(name)
        elif robot.factory is not None:
            assert load_object(robot.factory).is_twin
