"""A frozen policy behind a socket: `hello`, `encode`, `decode`, `status`.

Contexts stay here, kept under the content of the observation they were made from and dropped after a while; what
travels is features, bottleneck and a handle. A handle that is no longer known is a `ContextMiss`: the client sends
the observation again. One thread; requests are served in the order in which they come.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robot_rl.clock import SECOND, Clock, RealClock
from robot_rl.errors import BadAction, ContextMiss, WireError
from robot_rl.protocols import FrozenPolicy
from robot_rl.types import Array, Context, Observation
from robot_rl.wire.codec import Header
from robot_rl.wire.handshake import check_protocol, check_stamp, spec_to_plain, stamp
from robot_rl.wire.observations import check_observation, content_name
from robot_rl.wire.rpc import Reply, RpcServer
from robot_rl.wire.schemas import from_plain, to_plain

BATCH = 1024
"""Observations or noises in one request, at most."""


class ContextCache:
    """Contexts of batch 1 by content, for `keep_s` seconds after their last use and at most `size` of them."""

    def __init__(self, clock: Clock, keep_s: float = 30.0, size: int = 4096) -> None:
        self._clock = clock
        self._keep_ns = int(keep_s * SECOND)
        self._size = size
        self._entries: OrderedDict[bytes, tuple[int, Context]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, handle: bytes, context: Context) -> None:
        """Keep `context`; what is too old or too much goes, the least recently used first."""
        now = self._clock.now_ns()
        self._entries[handle] = now, context
        self._entries.move_to_end(handle)
        while len(self._entries) > self._size or next(iter(self._entries.values()))[0] + self._keep_ns < now:
            self._entries.popitem(last=False)

    def get(self, handle: bytes) -> Context:
        """The context of `handle`. Raises `ContextMiss`."""
        now = self._clock.now_ns()
        stamp_ns, context = self._entries.get(handle, (0, None))
        if context is None or stamp_ns + self._keep_ns < now:
            raise ContextMiss(f"no context {handle.hex()[:8]} (expired, or the server is new): send its observation")
        self._entries[handle] = now, context
        self._entries.move_to_end(handle)
        return context


class PolicyServer:
    """Serves `policy` on `endpoint` until told to stop. Raises `ConfigError` for an endpoint others could reach."""

    def __init__(
        self,
        policy: FrozenPolicy,
        endpoint: str,
        *,
        clock: Clock | None = None,
        keep_s: float = 30.0,
        allow_remote: bool = False,
    ) -> None:
        self.policy = policy
        self.contexts = ContextCache(clock or RealClock(), keep_s)
        self.misses = 0
        self._spec = policy.spec
        self._hash = policy.spec.hash
        handlers: dict[str, Callable[[Header, list[Array]], Reply]] = {
            "hello": self._hello,
            "encode": self._encode,
            "decode": self._decode,
            "status": self._status,
        }
        self._rpc = RpcServer(endpoint, handlers, allow_remote=allow_remote)
        self.endpoint = self._rpc.endpoint

    def run(self, stopping: threading.Event) -> None:
        """Serve until `stopping` is set (seen within 0.1 s)."""
        while not stopping.is_set():
            self._rpc.poll(100)

    def close(self) -> None:
        self._rpc.close()

    def _hello(self, header: Header, arrays: list[Array]) -> Reply:
        check_protocol(header)
        return spec_to_plain(self._spec, self._hash), ()

    def _status(self, header: Header, arrays: list[Array]) -> Reply:
        counters = {"served": self._rpc.served, "dropped": self._rpc.dropped}
        return stamp(self._hash) | counters | {"contexts": len(self.contexts), "misses": self.misses}, ()

    def _encode(self, header: Header, arrays: list[Array]) -> Reply:
        check_stamp(header, self._hash)
        observations = from_plain(list[Observation], header.get("observations"), arrays)
        _check_batch(len(observations))
        for observation in observations:
            check_observation(observation, self._spec)
        context = self.policy.encode(observations)
        handles = tuple(content_name(observation, self._spec) for observation in observations)
        for handle, single in zip(handles, split(context), strict=True):
            self.contexts.put(handle, single)
        results: list[Array] = []
        plain = to_plain(Context(context.features, context.z, handles), results)
        return stamp(self._hash) | {"context": plain}, results

    def _decode(self, header: Header, arrays: list[Array]) -> Reply:
        check_stamp(header, self._hash)
        context = self._context(header, arrays)
        batch = len(context.features)
        noise = from_plain(Array, header.get("noise"), arrays)
        plain = header.get("latent")
        latent = None if plain is None else from_plain(Array, plain, arrays)
        _check_floats("noise", noise, (batch, *self._spec.noise_shape))
        if latent is not None:
            _check_floats("latent", latent, (batch, self._spec.latent or 0))
        chunks = self.policy.decode(context, noise, latent)
        return stamp(self._hash) | {"noise_applied": bool(self._spec.noise_shape)}, [np.asarray(chunks, np.float32)]

    def _context(self, header: Header, arrays: list[Array]) -> Context:
        """The context that a `decode` names by handles, or brings along as features."""
        handles = from_plain(list[bytes], header.get("handles"), arrays)
        if not handles:
            if not self._spec.decodes_from_features:
                raise WireError("this policy decodes contexts that it encoded: expected handles, got features alone")
            context = from_plain(Context, header.get("context"), arrays)
            _check_batch(len(context.features) if context.features.ndim else 0)
            _check_floats("features", context.features, (len(context.features), self._spec.features))
            return context
        _check_batch(len(handles))
        try:
            return join([self.contexts.get(handle) for handle in handles])
        except ContextMiss:
            self.misses += 1
            raise


def split(context: Context) -> list[Context]:
    """A context of batch B as B contexts of batch 1."""
    rows = [slice(i, i + 1) for i in range(len(context.features))]
    return [Context(context.features[i], None if context.z is None else context.z[i], context.handle[i]) for i in rows]


def join(contexts: Sequence[Context]) -> Context:
    """The other way round."""
    latents = [context.z for context in contexts if context.z is not None]
    return Context(
        np.concatenate([context.features for context in contexts]),
        np.concatenate(latents) if latents else None,
        tuple(handle for context in contexts for handle in context.handle),
    )


def _check_batch(batch: int) -> None:
    if not 1 <= batch <= BATCH:
        raise WireError(f"expected a batch of 1 to {BATCH}, got {batch}")


def _check_floats(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if value.shape != shape or value.dtype != np.float32:
        raise BadAction(f"{name}: expected float32 {shape}, got {value.dtype} {value.shape}")
    if not np.isfinite(value).all():
        raise BadAction(f"{name}: expected finite numbers")
