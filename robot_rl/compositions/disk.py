"""What takes a run up again that a full disk has paused, where no person does: a twin's."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from robot_rl.clock import Clock
from robot_rl.control.operator import AUTHOR
from robot_rl.control.progress import State
from robot_rl.control.session import Session
from robot_rl.errors import DiskError
from robot_rl.store.store import StorePort

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Between two looks for space, of the wall clock."""


@dataclass
class DiskWatch:
    """To be polled beside the automatic operator; a person frees space and says `run` themselves."""

    session: Session
    store: StorePort
    clock: Clock
    _due: float = field(default=0.0, repr=False)

    def poll(self) -> None:
        """Raises `DiskError` when the disk takes the reserve and then refuses again."""
        if self.session.disk is None or self.session.state is not State.PAUSED or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + RETRY_S
        try:
            self.store.reserve()
        except DiskError as error:
            self.session.disk_refused(str(error))
            return
        log.warning("the disk takes what is written again: the run goes on")
        self.session.command("run", {}, AUTHOR, self.clock.now_ns())
