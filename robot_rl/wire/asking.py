"""One request at a time, without waiting for it: the client of a control loop.

    begin(...)          returns at once; whatever was still open is given up, and the server is told
    answered(wait_s)    whether there is an answer (or an error, or the deadline has passed); waits no longer than told
    take()              the answer

The request leaves as soon as there is a server to take it, with the time that then remains until its deadline: clocks
of two machines are never compared. A reply to anything but the open request is dropped and counted. The socket
reconnects by itself, first after 20 ms, then after twice as long each time, up to half a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import zmq

from robot_rl.errors import ConfigError, DeadlineMissed, RobotRLError, WireError
from robot_rl.types import Array
from robot_rl.wire.codec import Forms, Packed, Packer, pack, packed, unpack
from robot_rl.wire.keys import ClientKeys, secure_client
from robot_rl.wire.rpc import value_of_reply
from robot_rl.wire.sockets import open_socket, receive_one, waits
from robot_rl.wire.values import LIMITS, Limits

NOBLOCK = int(zmq.NOBLOCK)
CANCEL = 0
"""The number of every cancellation; requests count from 1."""
BACKLOG = 16
"""Requests and cancellations that wait for a server that does not read; what is more is not sent."""

Answer = tuple[Mapping[str, Any], list[Array]]
"""What the server said, to be read only, and its arrays."""


def question(name: str, args: Mapping[str, Any]) -> Packed:
    """A request but for its arrays; who asks the same often makes it once. Raises `WireError`."""
    return packed({"call": name, "args": dict(args)})


class Asking:
    """See the module. Belongs to one thread."""

    def __init__(self, endpoint: str, *, keys: ClientKeys | None = None, limits: Limits = LIMITS) -> None:
        self.endpoint = endpoint
        self.late = 0
        """Replies that came when nobody waited for them any more."""
        self._keyed = keys is not None
        self._number = CANCEL
        self._packer, self._forms = Packer(), Forms(limits)
        self._open: tuple[str, Packed, Sequence[Array]] | None = None
        self._sent = False
        self._began = self._end = 0.0
        self._answer: Answer | RobotRLError | None = None
        self._socket = open_socket(zmq.DEALER, limits)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a server that is not there
        self._socket.setsockopt(zmq.SNDHWM, BACKLOG)
        try:
            if keys is not None:
                secure_client(self._socket, keys)
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ConfigError(f"endpoint {endpoint!r}: {error}; expected tcp://HOST:PORT or ipc://PATH") from error
        self._arriving, self._either = zmq.Poller(), zmq.Poller()
        self._arriving.register(self._socket, zmq.POLLIN)
        self._either.register(self._socket, zmq.POLLIN | zmq.POLLOUT)

    @property
    def number(self) -> int:
        """Of the newest request."""
        return self._number

    def begin(self, name: str, args: Mapping[str, Any] | Packed, arrays: Sequence[Array], end: float) -> int:
        """Ask for `name`, to be answered by `end` (`time.monotonic`, s); returns the request's number.

        `args`, or the `question` that they make. Raises `WireError` for what cannot travel.
        """
        asked = args if isinstance(args, Packed) else question(name, args)
        self.give_up()
        self._number += 1
        self._open, self._sent, self._answer = (name, asked, arrays), False, None
        self._began, self._end = time.monotonic(), end
        try:
            self._send()
        except WireError:
            self._open = None
            raise
        return self._number

    def answered(self, wait_s: float = 0.0) -> bool:
        """Whether `take` has something to say; waits up to `wait_s`, and never beyond the deadline."""
        until = min(time.monotonic() + wait_s, self._end)
        while self._answer is None and self._open is not None:
            left_ms = max(0, round(1000 * (until - time.monotonic())))
            sent = self._sent
            if not (self._arriving if sent else self._either).poll(left_ms):
                if time.monotonic() < self._end:
                    return False
                self._answer = self._missed()
                self.give_up()
            elif sent or waits(self._socket):
                self._receive()
            else:
                self._send()
        return self._answer is not None

    def take(self) -> Answer:
        """The answer, once. Raises what the server raised, or `DeadlineMissed`, or `WireError` if none is there."""
        answer, self._answer = self._answer, None
        if answer is None:
            raise WireError("expected an answered request, got none: ask `answered` first")
        if isinstance(answer, RobotRLError):
            raise answer
        return answer

    def give_up(self) -> None:
        """Take no more interest in the open request; a server that has not begun it will not."""
        if self._open is not None and self._sent:
            with suppress(zmq.Again):
                self._socket.send(pack(CANCEL, question("cancel", {"request": self._number})), NOBLOCK)
        self._open = None

    def close(self) -> None:
        self.give_up()
        self._socket.close(linger=0)

    def _send(self) -> None:
        """If there is somebody to take it, the open request leaves with the time that is left."""
        if self._open is not None and not self._sent:
            _, asked, arrays = self._open
            message = self._packer.pack(self._number, asked, arrays, self._end - time.monotonic())
            with suppress(zmq.Again):  # there is nobody, or who is there does not read
                self._socket.send(message, NOBLOCK)  # copied: libzmq's ways without a copy take longer
                self._sent = True

    def _receive(self) -> None:
        try:
            message = unpack(receive_one(self._socket), self._forms)
            if message.number != self._number:
                self.late += bool(message.form.fixed.get("value"))  # the answer to a cancellation has none
                return
            self._answer = value_of_reply(message.form.fixed), message.arrays()
        except RobotRLError as error:
            self._answer = error
        self._open = None

    def _missed(self) -> DeadlineMissed:
        waited = f"waited {self._end - self._began:.2g} s"
        assert self._open is not None
        if self._sent:
            return DeadlineMissed(f"{self._open[0]}: no answer from {self.endpoint} in time ({waited})")
        why = "nobody listens, or not to this key," if self._keyed else "nobody listens"
        return DeadlineMissed(f"{self._open[0]}: {why} on {self.endpoint} ({waited})")
