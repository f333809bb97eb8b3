"""A chunk on its way to the robot: what comes next, and what was really sent."""

from __future__ import annotations

import numpy as np

from robot_rl.types import ActionChunk, Array, Command, CommandResult, Verdict


class ChunkBuffer:
    """Hands out one chunk's actions as commands and keeps what became of them."""

    def __init__(self, chunk: ActionChunk) -> None:
        self.chunk = chunk
        self._sent: list[Array] = []
        self._interrupted: Array | None = None

    @property
    def executed(self) -> int:
        """How many actions were sent."""
        return len(self._sent)

    @property
    def exhausted(self) -> bool:
        """Nothing more of this chunk will be sent."""
        return self._interrupted is not None or self.executed == len(self.chunk.final)

    def command(self, deadline_ns: int, epoch: int) -> Command:
        """The next action [A] as a command."""
        return Command(self.chunk.final[self.executed], deadline_ns, epoch, self.chunk.id, self.executed)

    def took(self, result: CommandResult) -> None:
        """What became of the newest command; one that was held or rejected interrupts the chunk."""
        if result.verdict in (Verdict.PASS, Verdict.CLIPPED):
            self._sent.append(np.asarray(result.sent))
        else:
            self.interrupt(result.sent)

    def interrupt(self, still: Array) -> None:
        """The rest of the chunk is dropped; `still` [A] is what the robot does instead: no displacement."""
        self._interrupted = np.asarray(still)

    def executed_chunk(self) -> Array:
        """[T, A] SI, float32: the rows that were sent; behind an interruption the robot stood still.

        If the episode ended within the chunk, the rest is as planned: it is what this choice would have gone on to do.
        """
        rows = np.array(self.chunk.final, dtype=np.float32)
        if self._sent:
            rows[: self.executed] = self._sent
        if self._interrupted is not None:
            rows[self.executed :] = self._interrupted
        return rows
