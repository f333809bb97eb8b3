from __future__ import annotations

import numpy as np
import pytest

from robot_rl.types import Verdict
from tests.control.cell import Cell

STEP = np.array([0.005, 0.0, 0.0, 0.04])


@pytest.fixture
def cell() -> Cell:
    return Cell()


def test_commands_carry_the_epoch_of_the_beginning_not_the_newest(cell: Cell) -> None:
    """A stop, cleared, and the guard made active again by another: what was begun before is void all the same."""
    cell.motion.begin()
    assert cell.motion.step(STEP, 0, 0).verdict is Verdict.PASS
    cell.guard.stop("ben", "")
    cell.guard.clear(cell.causes()[0], "ben")
    cell.guard.set_active(True)
    assert cell.motion.stopped
    late = cell.motion.step(STEP, 0, 1)
    assert (late.verdict, len(cell.robot.applied)) == (Verdict.HELD, 1)
    assert "epoch" in late.reason


def test_what_begins_while_a_stop_is_latched_is_stopped_even_when_that_is_cleared(cell: Cell) -> None:
    cell.guard.stop("ben", "")
    cell.motion.begin()
    cell.guard.clear(cell.causes()[0], "ben")
    assert cell.motion.stopped
    cell.guard.set_active(True)
    assert cell.motion.step(STEP, 0, 0).verdict is Verdict.HELD
    cell.motion.begin()
    assert not cell.motion.stopped
    assert cell.motion.step(STEP, 0, 0).verdict is Verdict.PASS


def test_the_operator_is_served_once_a_period(cell: Cell) -> None:
    cell.motion.begin()
    before = cell.pumps
    cell.motion.step(STEP, 0, 0)
    cell.motion.hold()
    cell.motion.rest()
    cell.motion.idle()
    assert cell.pumps == before + 4


def test_idling_costs_no_control_period_and_notices_a_fault(cell: Cell) -> None:
    now_ns = cell.clock.now_ns()
    cell.motion.idle()
    assert (cell.clock.now_ns(), cell.robot.held) == (now_ns, 0)
    cell.robot.fault = RuntimeError("cable")
    cell.motion.idle()
    assert cell.session.state.value == "FAULT"
