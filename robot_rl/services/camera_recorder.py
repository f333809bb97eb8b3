"""Camera frames into the open episode, by the store's own process: the control loop has nothing to do with them.

A frame is published as (camera, {frame, stamp_ns, ...}, JPEG), `frame` counting up by one for each camera. A number
that is left out was lost on the way here, and the episode says so (`LOST`): a frame is not worth a control step, but
nobody shall take a gap for a still scene.
"""

from __future__ import annotations

import logging

from robot_rl.errors import StoreError
from robot_rl.services.frames import FRAME_BACKLOG
from robot_rl.store.store import Store
from robot_rl.wire.latest import Subscriber

log = logging.getLogger(__name__)

LOST = "/frames_lost"
"""Topic of {camera, frames}: so many of a camera's frames before the next one were lost."""


class CameraRecorder:
    """Records what is published on `endpoint` while `store` has an episode open."""

    def __init__(self, store: Store, endpoint: str) -> None:
        self._store = store
        self._frames = Subscriber(endpoint, backlog=FRAME_BACKLOG)
        self._next: dict[str, int] = {}
        """Camera -> the number of its next frame."""

    def take(self) -> None:
        """Record what has come since the last call; without an open episode it is let go.

        A disk that refuses costs the episode, which the store tells whoever records into it.
        """
        for camera, header, jpeg in self._frames.take():
            number, stamp_ns = header.get("frame"), header.get("stamp_ns")
            if type(number) is not int or type(stamp_ns) is not int:
                continue
            lost = number - self._next.get(camera, number)
            self._next[camera] = number + 1
            if not self._store.recording:
                continue
            try:
                if lost > 0:  # below 0: the camera's process began anew
                    self._store.write(LOST, stamp_ns, {"camera": camera, "frames": lost})
                self._store.write_image(camera, stamp_ns, jpeg)
            except StoreError as error:
                log.warning("a frame of %s is not recorded: %s", camera, error)

    def close(self) -> None:
        self._frames.close()
