"""One twin of each task for all tests here: building the scene takes longer than most of them."""

from __future__ import annotations

import pytest

from robot_rl.config import TaskConfig
from robot_rl.task_files import load_task
from sim_twin.lid_opening import LidOpeningTwin


@pytest.fixture(scope="session")
def task() -> TaskConfig:
    return load_task("lid_opening")


@pytest.fixture(scope="session")
def strict() -> TaskConfig:
    return load_task("lid_opening_strict")


@pytest.fixture(scope="session")
def shared_twin(task: TaskConfig) -> LidOpeningTwin:
    return LidOpeningTwin(task)


@pytest.fixture
def twin(shared_twin: LidOpeningTwin) -> LidOpeningTwin:
    """At the first training start; a reset leaves nothing of an earlier test (`test_a_reset_leaves_no_trace`)."""
    shared_twin.reset(shared_twin.draw(1, 0, 0))
    return shared_twin
