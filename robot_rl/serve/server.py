"""A frozen policy behind a socket: `hello`, `encode`, `decode`, `cancel`, `status`.

Contexts stay here, each under a handle of its own, and are dropped after a while; what travels is features,
bottleneck and the handle. A handle that is no longer known is a `ContextMiss`: the client sends
the observation again.

The model has one thread, which also reads the socket between two calls: a lone robot's request meets no other thread on
its way. While a call takes long, a second thread minds the socket, so that requests are stamped when they arrive, and
`hello`, `status` and cancellations are answered at any time. Whoever has the turn (a lock) may touch socket and queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from robot_rl import __version__
from robot_rl.clock import Clock, RealClock
from robot_rl.errors import ConfigError, WireError
from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.batching import Batcher, Batching, Job
from robot_rl.serve.contexts import KEEP_BYTES, KEEP_S, ContextCache
from robot_rl.serve.model import Model
from robot_rl.serve.requests import Read, decode_reader, encode_reader, remaining
from robot_rl.types import Array, PolicySpec
from robot_rl.wire.handshake import check_protocol, check_stamp, spec_to_plain, stamp
from robot_rl.wire.keys import ServerKeys
from robot_rl.wire.pictures import require_pillow
from robot_rl.wire.rpc import Handler, Later, Reply, RpcServer, require_local
from robot_rl.wire.values import Header

log = logging.getLogger(__name__)

LONG_S = 0.005
"""A call that takes longer than this is worth a second thread's waking up."""
IDLE_S = 0.1
GRACE_S = 5.0
"""How long the call that runs may take to be answered when the server is to end."""
Reader = Callable[[Header, list[Array], PolicySpec], Read]


class PolicyServer:
    """Serves `policy` on `endpoint` until told to stop.

    Other machines are let in with `keys`, or with `allow_remote` without any authentication. Raises `ConfigError` for
    an endpoint that others could reach without either.
    """

    def __init__(
        self,
        policy: FrozenPolicy,
        endpoint: str,
        *,
        clock: Clock | None = None,
        keep_s: float = KEEP_S,
        keep_bytes: int = KEEP_BYTES,
        allow_remote: bool = False,
        keys: ServerKeys | None = None,
        batching: Batching | None = None,
        jpeg: bool = False,
    ) -> None:
        """`jpeg`: clients may send pictures as that. Raises `ConfigError` if Pillow is missing then."""
        if jpeg:
            require_pillow()
        if not allow_remote and keys is None:
            _require_local(endpoint)
        self.contexts = ContextCache(clock or RealClock(), keep_s, most_bytes=keep_bytes)
        self._spec = policy.spec
        self._hash = policy.spec.hash
        self._jpeg = jpeg
        self._batching = batching or Batching()
        self._began = time.monotonic()
        self._ready = threading.Event()
        self._turn = threading.Lock()
        self._call_began: float | None = None
        """When the model's present call began; None between calls."""
        self._long_call = threading.Event()
        self._expected_s = LONG_S
        """How long the last call took."""
        handlers: dict[str, Handler] = {
            "hello": self._hello,
            "encode": lambda header, arrays: self._ask(encode_reader, header, arrays),
            "decode": lambda header, arrays: self._ask(decode_reader, header, arrays),
            "cancel": self._cancel,
            "status": self._status,
        }
        self._rpc = RpcServer(endpoint, handlers, allow_remote=True, keys=keys)
        self._model = Model(policy, self.contexts, self._rpc.answer)
        self._batcher = Batcher(self._rpc.answer, self._batching)
        self.endpoint = self._rpc.endpoint

    @property
    def ready(self) -> bool:
        """Whether the policy is warm; until then requests wait, within their deadlines."""
        return self._ready.is_set()

    @property
    def waiting(self) -> int:
        """Requests that wait for the model."""
        return self._batcher.waiting

    @property
    def misses(self) -> int:
        """Handles that were no longer known."""
        return self._model.misses

    def run(self, stopping: threading.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stopping` is set (seen within 0.1 s); what is under way then is answered, what waits refused.

        `on_ready` is called from the model's thread when the policy is warm. Raises `ConfigError` if it cannot be
        warmed up.
        """
        model = threading.Thread(target=self._model_thread, args=(stopping, on_ready), name="model", daemon=True)
        model.start()
        while not stopping.is_set() and model.is_alive():
            self._long_call.wait(0.05)
            self._mind_socket(stopping)
        model.join(GRACE_S)
        if model.is_alive():
            log.warning("the policy did not come back within %g s; its clients get no answer", GRACE_S)
        with self._turn:
            self._batcher.refuse_all("the server is shutting down")
            self._rpc.flush()
        if not self.ready and not stopping.is_set():
            raise ConfigError(f"the policy {self._spec.policy_id} fails on an observation of its own spec; see the log")

    def close(self) -> None:
        with self._turn:
            self._rpc.close()

    # --- the model's thread ---------------------------------------------------------------------------------------

    def _model_thread(self, stopping: threading.Event, on_ready: Callable[[], None]) -> None:
        try:
            self._call(lambda: self._model.warm_up(sorted({1, self._batching.rows})))
        except Exception:  # `run` raises for it
            log.exception("the policy cannot be warmed up")
            return
        self._ready.set()
        on_ready()
        while not stopping.is_set():
            self._take_turn()
            try:
                self._rpc.flush()
                due_s = self._batcher.due_s(self._expected_s)
                if due_s is None or due_s > 0:
                    self._rpc.poll(1000 * (IDLE_S if due_s is None else due_s))
                    due_s = self._batcher.due_s(self._expected_s)
                jobs = self._batcher.take() if due_s == 0 else []
            finally:
                self._turn.release()
            if jobs:
                self._compute(jobs)
        self._take_turn()
        self._rpc.flush()
        self._turn.release()

    def _compute(self, jobs: Sequence[Job]) -> None:
        try:
            self._call(lambda: self._model.compute(jobs))
        except Exception:  # whatever it was, the next call is made
            log.exception("a call of %d requests failed; they get no answer", len(jobs))

    def _call(self, work: Callable[[], None]) -> None:
        """Do `work`, without the turn; the other thread is told at once if it is likely to take long."""
        self._call_began = began = time.monotonic()
        if self._expected_s >= LONG_S:
            self._long_call.set()
        try:
            work()
        finally:
            self._call_began = None
            if self._long_call.is_set():
                self._long_call.clear()
            self._batcher.ended()
            self._expected_s = time.monotonic() - began

    def _take_turn(self) -> None:
        if not self._turn.acquire(blocking=False):
            self._rpc.wake()
            self._turn.acquire()

    # --- the thread that minds the socket while the model is busy -----------------------------------------------------

    def _mind_socket(self, stopping: threading.Event) -> None:
        while (began := self._call_began) is not None and not stopping.is_set():
            if self._expected_s < LONG_S and time.monotonic() - began < LONG_S:
                time.sleep(LONG_S)  # a short one, most likely
                continue
            with self._turn:
                if self._call_began is not None:
                    self._rpc.poll(20)

    def _hello(self, header: Header, arrays: list[Array]) -> Reply:
        check_protocol(header)
        return spec_to_plain(self._spec, self._hash) | {"ready": self.ready, "jpeg": self._jpeg}, ()

    def _status(self, header: Header, arrays: list[Array]) -> Reply:
        """Counters since the server began, for people and for tests."""
        status: Header = {
            "policy": self._spec.policy_id,
            "version": __version__,
            "ready": self.ready,
            "uptime_s": time.monotonic() - self._began,
            "served": self._rpc.served,
            "dropped": self._rpc.dropped,
            "refused": self._rpc.refused,
            "contexts": len(self.contexts),
            "context_bytes": self.contexts.bytes,
            "misses": self._model.misses,
            "failed": self._model.failed,
            "waiting": self._batcher.waiting,
            **self._batcher.counts,
        }
        return stamp(self._hash) | status, ()

    def _ask(self, reader: Reader, header: Header, arrays: list[Array]) -> Later:
        """What a request of a form must hold is looked at once; further ones are `_put` at once."""
        check_stamp(header, self._hash)
        if header.get("jpeg") is True and not self._jpeg:
            raise WireError("this server takes pictures as pixels: start it with --jpeg, or send no JPEG")
        read = reader(header, arrays, self._spec)
        self._rpc.form.again = lambda arrays: self._put(read, arrays)
        return self._put(read, arrays)

    def _put(self, read: Read, arrays: list[Array]) -> Later:
        peer, request = self._rpc.caller
        return self._batcher.put(Job(peer, request, read(arrays, remaining(self._rpc.remaining_s)), Later()))

    def _cancel(self, header: Header, arrays: list[Array]) -> Reply:
        """`cancel` {request}: of the same client."""
        peer, _ = self._rpc.caller
        request = header.get("request")
        if isinstance(request, int):
            self._batcher.cancel(peer, request)
        return {}, ()


def _require_local(endpoint: str) -> None:
    try:
        require_local(endpoint)
    except ConfigError as error:
        raise ConfigError(
            f"{error}: give the server keys (`robot-rl keys`, --keys FILE), or let anyone in with --allow-remote"
        ) from None
