"""What is only worth having fresh (camera frames, status): PUB/SUB where the newest of each topic wins.

A message has three frames: topic, msgpack of a mapping, payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zmq

from robot_rl.errors import ConfigError, WireError
from robot_rl.wire.codec import LIMITS, Header, Limits, pack_value, unpack_value
from robot_rl.wire.rpc import open_socket, receive, require_local


class Publisher:
    """Publishes on `endpoint`; never waits: what a subscriber does not fetch in time is dropped for it."""

    def __init__(self, endpoint: str, *, limits: Limits = LIMITS, allow_remote: bool = False) -> None:
        if not allow_remote:
            require_local(endpoint)
        self._socket = open_socket(zmq.PUB, limits)
        self._socket.setsockopt(zmq.SNDHWM, 32)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"cannot publish on {endpoint}: {error}; choose a free endpoint") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def publish(self, topic: str, header: Mapping[str, Any], payload: bytes = b"") -> None:
        """Hand `header` and `payload` to whoever listens."""
        self._socket.send_multipart([topic.encode(), pack_value(dict(header)), payload])

    def close(self) -> None:
        self._socket.close(linger=0)


class Latest:
    """The newest message of each topic published on `endpoint`; no thread, `poll` when you like."""

    def __init__(self, endpoint: str, *, limits: Limits = LIMITS) -> None:
        self.newest: dict[str, tuple[Header, bytes]] = {}
        self.dropped = 0
        """Malformed messages."""
        self._limits = limits
        self._socket = open_socket(zmq.SUB, limits)
        self._socket.setsockopt(zmq.RCVHWM, 32)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(endpoint)

    def poll(self, timeout_ms: float = 0) -> dict[str, tuple[Header, bytes]]:
        """Wait up to `timeout_ms` for news, take all of it; returns topic -> (header, payload), old news included."""
        wait = timeout_ms
        while self._socket.poll(round(wait)):
            self._take(receive(self._socket, 3))
            wait = 0
        return dict(self.newest)

    def close(self) -> None:
        self._socket.close(linger=0)

    def _take(self, frames: list[bytes]) -> None:
        try:
            topic, packed, payload = frames
            header = unpack_value(packed, self._limits)
            if not isinstance(header, dict):
                raise WireError("expected a mapping")
            self.newest[topic.decode()] = header, payload
        except (WireError, ValueError):
            self.dropped += 1
