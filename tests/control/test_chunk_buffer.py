from __future__ import annotations

import numpy as np
import pytest

from robot_rl.control.chunk_buffer import ChunkBuffer
from robot_rl.errors import BadAction
from robot_rl.types import ActionChunk


def make_chunk() -> ActionChunk:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    return ActionChunk(1, 0, "ee_delta", 0.05, rows, rows + 100, np.zeros(1), np.zeros(1), "p", 0)


def test_rows_come_in_order_and_a_held_row_comes_again() -> None:
    buffer = ChunkBuffer(make_chunk())
    seen = []
    while (target := buffer.target) is not None:
        again = buffer.target
        assert again is not None
        np.testing.assert_array_equal(target, again)
        seen.append(target)
        buffer.sent(target)
    np.testing.assert_array_equal(seen, buffer.chunk.final)
    assert buffer.k_executed == 3


def test_executed_is_what_was_sent_then_what_was_planned() -> None:
    buffer = ChunkBuffer(make_chunk())
    buffer.sent(np.full(4, -1.0))
    np.testing.assert_array_equal(buffer.executed, [[-1] * 4, *buffer.chunk.final[1:]])
    assert buffer.executed.dtype == np.float64


def test_after_a_cut_nothing_is_due_and_the_robot_stood_still() -> None:
    buffer = ChunkBuffer(make_chunk())
    buffer.sent(np.full(4, -1.0))
    buffer.cut(np.array([0, 0, 0, 0.04]))
    assert buffer.target is None
    assert buffer.k_executed == 1
    np.testing.assert_array_equal(buffer.executed, [[-1] * 4, [0, 0, 0, 0.04], [0, 0, 0, 0.04]])


def test_the_chunk_itself_is_never_written_to() -> None:
    buffer = ChunkBuffer(make_chunk())
    target = buffer.target
    assert target is not None
    target[:] = 0
    buffer.sent(target)
    np.testing.assert_array_equal(buffer.chunk.final, make_chunk().final)


def test_more_rows_than_there_are_is_an_error() -> None:
    buffer = ChunkBuffer(make_chunk())
    for _ in range(3):
        buffer.sent(np.zeros(4))
    with pytest.raises(BadAction, match="chunk 1"):
        buffer.sent(np.zeros(4))
