"""What tells the page of labels that did not come through it: `robot-rl label` writes past every process."""

from __future__ import annotations

from contextlib import suppress

from robot_rl.errors import StoreError
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory


class LabelWatch:
    """The log's newest event, read from the file itself: no process is asked, and none has to wait (some 20 us)."""

    def __init__(self, run: RunDirectory) -> None:
        self._log = LabelLog(run.labels)
        self._seen = 0

    def newest(self) -> int:
        """Its seq; a log that cannot be read just now says what it said before."""
        with suppress(StoreError):
            self._seen = self._log.watermark()
        return self._seen

    def close(self) -> None:
        self._log.close()
