"""Requests and replies over ZMQ: a ROUTER that serves named calls, and a DEALER with deadlines.

    request   {call, args} + arrays     reply   {value} + arrays   or   {error, message}

A reply has its request's number; a request says how long its caller will wait.

The server never dies of a request: what is malformed is dropped and counted, what a handler raises becomes a typed
error at the caller, and only the text of this project's own errors leaves the process. The client never waits longer
than it said, never hands out a late reply as the answer to another request, and reconnects by itself.

Loopback and ipc only, unless the server has keys (`robot_rl.wire.keys`) or is told to listen without them.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import zmq

from robot_rl import errors
from robot_rl.errors import ConfigError, DeadlineMissed, RobotRLError, WireError, nearest
from robot_rl.types import Array
from robot_rl.wire.codec import Form, Forms, Frame, Message, Packed, Packer, pack, packed, unpack
from robot_rl.wire.keys import Doorkeeper, ServerKeys, secure_server
from robot_rl.wire.sockets import open_socket, receive_one, waits
from robot_rl.wire.values import LIMITS, OWN, Header, Limits

log = logging.getLogger(__name__)

NO_FORM = b"\x92\x80\x90"
"""Of no request."""
SNDMORE = int(zmq.SNDMORE)
OUTSTANDING = 256
"""Posts that may be unanswered."""

Reply = tuple["Mapping[str, Any] | Packed", Sequence[Array]]
"""What a handler says: a value, or one that `answer_of` has packed before, and arrays."""


def answer_of(value: Mapping[str, Any]) -> Packed:
    """A reply but for its arrays; who says the same often makes it once. Raises `WireError`."""
    return packed({"value": dict(value)})


@dataclass
class Later:
    """What a handler returns to answer later, from any thread, through `RpcServer.answer`."""

    peer: bytes = b""
    request: int = -1


Handler = Callable[[Header, list[Array]], "Reply | Later"]


class RpcServer:
    """Serves `handlers` on `endpoint` whenever its owner calls `poll`: a control process keeps its own loop.

    All calls but `answer` and `wake` belong to one thread at a time.
    """

    def __init__(
        self,
        endpoint: str,
        handlers: Mapping[str, Handler],
        *,
        limits: Limits = LIMITS,
        allow_remote: bool = False,
        keys: ServerKeys | None = None,
    ) -> None:
        """With `keys`, only the clients that these name are let in."""
        if not allow_remote and keys is None:
            require_local(endpoint)
        self.handlers = dict(handlers)
        self.served = 0
        """Requests answered, errors included."""
        self.dropped = 0
        """Messages that were no well-formed request."""
        self.caller = (b"", -1)
        """Peer and request id of the request whose handler runs; of use in a handler."""
        self.remaining_s = math.nan
        """Until its deadline, as it left the client; NaN if it did not say. Whatever the peer sent: to be checked."""
        self.form = Form(NO_FORM, limits)
        """Of that request. A handler may set `form.again`: it gets the arrays of further requests of the same form."""
        self._forms, self._packer = Forms(limits), Packer()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._door: Doorkeeper | None = None
        if keys is not None:
            self._context = zmq.Context()  # its own: whoever is let in here is so for no other socket
            self._door = Doorkeeper(self._context, keys)
        self._socket = open_socket(zmq.ROUTER, limits, self._context)
        # libzmq 4.3.5 aborts the process when a peer goes away whose input it has stopped at the high-water mark while
        # its output is blocked: without a mark it never stops the input. `poll` reads faster than peers can write.
        self._socket.setsockopt(zmq.RCVHWM, 0)
        if keys is not None:
            secure_server(self._socket, keys)
        self._polling = 0
        """The thread that polls: it need not be woken."""
        self._answers: deque[tuple[Later, Callable[[], Reply]]] = deque()
        self._wake_send, self._wake_receive = socket.socketpair()
        for wake in (self._wake_send, self._wake_receive):
            wake.setblocking(False)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"cannot listen on {endpoint}: {error}; choose a free endpoint") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        """Where it really listens; of use after binding to port `*`."""
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._wake = self._wake_receive.fileno()
        self._poller.register(self._wake, zmq.POLLIN)
        if self._door is not None:
            self._poller.register(self._door.socket, zmq.POLLIN)

    @property
    def refused(self) -> int:
        """Clients turned away for their keys."""
        return self._door.refused if self._door is not None else 0

    def poll(self, timeout_ms: float = 0, most: int = 64) -> int:
        """Wait up to `timeout_ms` for work, do what is there (at most `most` requests); returns how many."""
        self.flush()
        ready = dict(self._poller.poll(round(timeout_ms)))
        if not ready:
            return 0
        if self._door is not None:
            self._door.poll()
        if self._wake in ready:
            with suppress(BlockingIOError):
                self._wake_receive.recv(4096)
        self._send_answers()
        done, more = 0, self._socket in ready
        while more:
            self._serve(self._socket.recv(), receive_one(self._socket))
            done += 1
            more = done < most and waits(self._socket)
        self._send_answers()
        return done

    def answer(self, later: Later, reply: Callable[[], Reply]) -> None:
        """Answer what a handler has put off; errors of `reply` go to the caller like a handler's. Any thread."""
        self._answers.append((later, reply))
        if threading.get_ident() != self._polling:
            self.wake()

    def wake(self) -> None:
        """Let `poll`, which waits in another thread, return. Any thread."""
        with suppress(BlockingIOError):  # it has been woken often enough
            self._wake_send.send(b"!")

    def flush(self) -> None:
        """Send the answers that are there."""
        self._polling = threading.get_ident()
        self._send_answers()

    def close(self) -> None:
        self._socket.close(linger=100)
        if self._door is not None and self._context is not None:
            self._door.socket.close(linger=0)
            self._context.term()  # waits for the answers on their way, 0.1 s at most
        self._wake_send.close()
        self._wake_receive.close()

    def _serve(self, peer: bytes, frame: Frame) -> None:
        try:
            message = unpack(frame, self._forms)
            request, form = message.number, message.form
            handle = form.again or self._handler(form)
        except WireError as error:
            self.dropped += 1
            log.debug("dropped a message: %s", error)
            return
        self.served += 1
        self.caller, self.remaining_s, self.form = (peer, request), message.remaining_s, form
        try:
            outcome = handle(message.arrays())
        except Exception as error:  # a peer's request must never end this process
            self._send(peer, _error(request, error))
            return
        if isinstance(outcome, Later):
            outcome.peer, outcome.request = peer, request
        else:
            self._send_reply(peer, request, lambda: outcome)

    def _handler(self, form: Form) -> Callable[[list[Array]], Reply | Later]:
        """Who answers requests of this form. Raises `WireError` if it is none of a request."""
        message = form.header
        name, args = message.get("call"), message.get("args")
        if not isinstance(name, str) or not isinstance(args, dict):
            raise WireError("expected a request {call, args}")
        handler = self.handlers.get(name)
        if handler is None:
            unknown = f"no call {name[:64]!r}{nearest(name[:64], self.handlers)}"

            def handler(args: Header, arrays: list[Array]) -> Reply:
                raise WireError(unknown)

        return lambda arrays: handler(args, arrays)

    def _send_answers(self) -> None:
        while self._answers:
            later, reply = self._answers.popleft()
            self._send_reply(later.peer, later.request, reply)

    def _send_reply(self, peer: bytes, request: int, reply: Callable[[], Reply]) -> None:
        try:
            value, arrays = reply()
            if isinstance(value, Packed):
                message = self._packer.pack(request, value, arrays)
            else:
                message = pack(request, answer_of(value), arrays)
        except Exception as error:  # as in _serve
            message = _error(request, error)
        self._send(peer, message)

    def _send(self, peer: bytes, message: Frame) -> None:
        self._socket.send(peer, SNDMORE)  # a ROUTER drops what a slow or vanished peer does not take
        self._socket.send(message)


class RpcClient:
    """Calls by name, one at a time; usable from several threads, which then wait for each other.

    What must not wait behind a slow call (a STOP) deserves a client of its own.
    """

    def __init__(self, endpoint: str, *, limits: Limits = OWN) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self._next = 0
        self._posted: set[int] = set()
        self._posted_error: RobotRLError | None = None
        self._forms = Forms(limits)
        self._socket = open_socket(zmq.DEALER, limits)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a server that is not there
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ConfigError(f"endpoint {endpoint!r}: {error}; expected tcp://HOST:PORT or ipc://PATH") from error

    def call(
        self, name: str, header: Mapping[str, Any] | None = None, arrays: Sequence[Array] = (), timeout_s: float = 1.0
    ) -> tuple[Header, list[Array]]:
        """The reply to one request.

        Raises `DeadlineMissed` after `timeout_s`, and what the server raised: the same `RobotRLError` class. A request
        is never sent twice: one that a dying server took along ends as a missed deadline.
        """
        end = time.monotonic() + timeout_s
        with self._alone(name, timeout_s):
            request = self._send(name, header, arrays, end, timeout_s)
            while self._wait(zmq.POLLIN, end):
                message = self._receive()
                if message.number == request:
                    self._posted.clear()  # replies come in order: what is still open was lost on the way
                    self._raise_posted()
                    return value_of_reply(message.form.header), message.arrays()
                # else: the reply to a post, or a late one to a call that was given up
            raise DeadlineMissed(f"{name}: no answer from {self.endpoint} within {timeout_s} s")

    def post(
        self, name: str, header: Mapping[str, Any] | None = None, arrays: Sequence[Array] = (), timeout_s: float = 1.0
    ) -> None:
        """Send a request and go on; the server sees posts and calls in order.

        For calls that are answered at once. What the server raises comes out of a later `post` or `call`. Waits only
        while `OUTSTANDING` posts are not yet answered; raises `DeadlineMissed` if that lasts longer than `timeout_s`.
        """
        end = time.monotonic() + timeout_s
        with self._alone(name, timeout_s):
            while self._socket.poll(0):
                self._receive()
            while len(self._posted) >= OUTSTANDING:
                if not self._wait(zmq.POLLIN, end):
                    raise DeadlineMissed(f"{name}: {self.endpoint} is {OUTSTANDING} requests behind")
                self._receive()
            self._raise_posted()
            self._posted.add(self._send(name, header, arrays, end, timeout_s))

    def forget_posts(self) -> None:
        """Take no more interest in what earlier posts came to."""
        with self._lock:
            self._posted.clear()
            self._posted_error = None

    def close(self) -> None:
        with self._lock:
            self._socket.close(linger=0)

    @contextmanager
    def _alone(self, name: str, timeout_s: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=timeout_s):
            raise DeadlineMissed(f"{name}: another call to {self.endpoint} took longer than {timeout_s} s")
        try:
            yield
        finally:
            self._lock.release()

    def _send(
        self, name: str, header: Mapping[str, Any] | None, arrays: Sequence[Array], end: float, timeout_s: float
    ) -> int:
        self._next += 1
        message = pack(self._next, {"call": name, "args": dict(header or {})}, arrays, end - time.monotonic())
        if not self._wait(zmq.POLLOUT, end):
            raise DeadlineMissed(f"{name}: nobody listens on {self.endpoint} (waited {timeout_s} s)")
        self._socket.send(message)
        return self._next

    def _receive(self) -> Message:
        """The next reply; what a post came to is noted."""
        message = unpack(receive_one(self._socket), self._forms)
        if message.number in self._posted:
            self._posted.discard(message.number)
            if "error" in message.form.fixed and self._posted_error is None:
                self._posted_error = _error_of(message.form.fixed)
        return message

    def _raise_posted(self) -> None:
        """Raise what an earlier post came to, once."""
        if self._posted_error is not None:
            error, self._posted_error = self._posted_error, None
            raise error

    def _wait(self, event: int, end: float) -> bool:
        remaining_ms = max(0, round(1000 * (end - time.monotonic())))
        return bool(self._socket.poll(remaining_ms, event))


def require_local(endpoint: str) -> None:
    """Raises `ConfigError` for an endpoint that other machines could reach."""
    scheme, _, rest = endpoint.partition("://")
    host = rest.rpartition(":")[0].strip("[]")
    local = scheme in ("ipc", "inproc") or host in ("localhost", "::1")
    if not local and scheme == "tcp":
        parts = host.split(".")
        local = len(parts) == 4 and parts[0] == "127" and all(part.isdecimal() for part in parts)
    if not local:
        raise ConfigError(
            f"expected an ipc:// or loopback endpoint (tcp://127.0.0.1:PORT), got {endpoint}: "
            "other machines are kept out where nobody is authenticated"
        )


def error_class(name: str) -> type[RobotRLError]:
    """The class of `robot_rl.errors` that is called `name`, else their base."""
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, RobotRLError) else RobotRLError


def _error(request: int, error: Exception) -> bytearray:
    """The reply for `error`: its text if it is one of ours, else only that there was one."""
    if isinstance(error, RobotRLError):
        name, text = type(error).__name__, str(error)
    else:
        log.error("a request failed", exc_info=error)
        name, text = "RobotRLError", f"the server failed ({type(error).__name__}); its log says more"
    return pack(request, {"error": name, "message": text[:2000]})


def _error_of(message: Mapping[str, Any]) -> RobotRLError:
    return error_class(str(message["error"]))(str(message.get("message", "")))


def value_of_reply(message: Mapping[str, Any]) -> Header:
    """The value of a reply. Raises the server's error, or `WireError`."""
    if "error" in message:
        raise _error_of(message)
    value = message.get("value")
    if not isinstance(value, dict):
        raise WireError("expected a reply {value}")
    return value
