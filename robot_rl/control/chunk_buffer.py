"""One chunk on its way through the robot: which action is next, and what became of those before it."""

from __future__ import annotations

import numpy as np

from robot_rl.errors import BadAction
from robot_rl.types import ActionChunk, Array


class ChunkBuffer:
    """Hands out the rows of a chunk one by one; a row that was held is handed out again."""

    def __init__(self, chunk: ActionChunk) -> None:
        self.chunk = chunk
        self._rows: Array = np.array(chunk.final, dtype=np.float64)
        self._sent = 0
        self._cut = False

    @property
    def target(self) -> Array | None:
        """[A] SI: the action that is due; None when the chunk is used up or was cut."""
        if self._cut or self._sent == len(self._rows):
            return None
        row: Array = self.chunk.final[self._sent].copy()
        return row

    @property
    def k_executed(self) -> int:
        """Rows that were sent."""
        return self._sent

    @property
    def executed(self) -> Array:
        """[T, A] SI float64: rows that were sent as they were sent, then rows as planned (or still, after a cut)."""
        rows: Array = self._rows.copy()
        return rows

    def sent(self, row: Array) -> None:
        """The due action was carried out as `row` [A], after the filter. Raises `BadAction` if none is due."""
        if self.target is None:
            raise BadAction(f"chunk {self.chunk.id}: expected a due action, got none: {self._sent} rows sent, or cut")
        self._rows[self._sent] = row
        self._sent += 1

    def cut(self, still: Array) -> None:
        """Nothing more of this chunk will be sent: from here the robot stood `still` [A], and another plan follows."""
        self._rows[self._sent :] = still
        self._cut = True
