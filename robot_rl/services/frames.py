"""What a camera process follows, states of a twin stamped with the host's monotonic clock, and how it publishes."""

from __future__ import annotations

import time

import numpy as np

from robot_rl.types import Array
from robot_rl.wire.latest import Latest, Publisher

STATE_TOPIC = "state"
STATE_PERIOD_S = 0.03
"""Seconds between two published states: faster than pictures are drawn, and cheap."""
FRAME_BACKLOG = 512
"""Frames that may wait for whoever records them, while it syncs an episode: some seconds of three cameras."""


class StatePublisher:
    """Publishes a twin's joint positions, at most every `STATE_PERIOD_S` of wall time."""

    def __init__(self, endpoint: str) -> None:
        self._publisher = Publisher(endpoint)
        self._seq = 0
        self._due = 0.0

    def offer(self, qpos: Array) -> None:
        """Publish `qpos` [nq] if it is time."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + STATE_PERIOD_S
            self._seq += 1
            header = {"seq": self._seq, "stamp_ns": time.monotonic_ns()}
            self._publisher.publish(STATE_TOPIC, header, np.asarray(qpos, "<f8").tobytes())

    def close(self) -> None:
        self._publisher.close()


def newest_state(states: Latest, timeout_ms: float) -> tuple[int, int, Array] | None:
    """(seq, stamp in ns, joint positions [nq]) of the newest state, or None while there is none."""
    header, payload = states.poll(timeout_ms=timeout_ms).get(STATE_TOPIC, ({}, b""))
    seq, stamp_ns = header.get("seq"), header.get("stamp_ns")
    if type(seq) is not int or type(stamp_ns) is not int:
        return None
    return seq, stamp_ns, np.frombuffer(payload, "<f8")
