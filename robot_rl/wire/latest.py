"""PUB/SUB for what nobody waits for (camera frames, status): the newest of each topic, or all that comes in time.

A message has three frames: topic, msgpack of a mapping, payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import zmq

from robot_rl.errors import ConfigError, WireError
from robot_rl.wire.rpc import require_local
from robot_rl.wire.sockets import open_socket, receive
from robot_rl.wire.values import LIMITS, Header, Limits, pack_value, unpack_value

BACKLOG = 32


class Publisher:
    """Publishes on `endpoint`; never waits: a subscriber that is `backlog` messages behind misses the newer ones."""

    def __init__(
        self, endpoint: str, *, backlog: int = BACKLOG, limits: Limits = LIMITS, allow_remote: bool = False
    ) -> None:
        if not allow_remote:
            require_local(endpoint)
        self._socket = open_socket(zmq.PUB, limits)
        self._socket.setsockopt(zmq.SNDHWM, backlog)
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


class Subscriber:
    """What is published on `endpoint`, in order, from when the connection stands; no thread, `take` when you like.

    More than `backlog` messages that nobody has taken, and the newest are lost.
    """

    def __init__(self, endpoint: str, *, backlog: int = BACKLOG, limits: Limits = LIMITS) -> None:
        self.dropped = 0
        """Malformed messages."""
        self._limits = limits
        self._socket = open_socket(zmq.SUB, limits)
        self._socket.setsockopt(zmq.RCVHWM, backlog)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(endpoint)

    def take(self, timeout_ms: float = 0) -> Iterator[tuple[str, Header, bytes]]:
        """Wait up to `timeout_ms` for news; (topic, header, payload) of all that has come."""
        wait = timeout_ms
        while self._socket.poll(round(wait)):
            wait = 0
            try:
                topic, packed, payload = map(bytes, receive(self._socket, 3))
                header = unpack_value(packed, self._limits)
                if not isinstance(header, dict):
                    raise WireError("expected a mapping")
                name = topic.decode()
            except (WireError, ValueError):
                self.dropped += 1
            else:
                yield name, header, payload

    def close(self) -> None:
        self._socket.close(linger=0)


class Latest(Subscriber):
    """The newest message of each topic published on `endpoint`."""

    def __init__(self, endpoint: str, *, limits: Limits = LIMITS) -> None:
        super().__init__(endpoint, limits=limits)
        self.newest: dict[str, tuple[Header, bytes]] = {}

    def poll(self, timeout_ms: float = 0) -> dict[str, tuple[Header, bytes]]:
        """Wait up to `timeout_ms` for news, take all of it; returns topic -> (header, payload), old news included."""
        for topic, header, payload in self.take(timeout_ms):
            self.newest[topic] = header, payload
        return dict(self.newest)
