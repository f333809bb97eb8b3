"""A frozen policy in another process or on another machine, behind the same two calls.

Every call has a deadline; the socket reconnects by itself, so that a server may be killed and started again. A server
that has forgotten a context gets its observation once more. One that now serves another model, speaks another protocol
or does not say that it applied the noise is refused.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from robot_rl.errors import ContextMiss, SpecMismatch, WireError
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.codec import Header
from robot_rl.wire.handshake import PROTOCOL, check_stamp, spec_from_plain, stamp
from robot_rl.wire.observations import check_observation, trim
from robot_rl.wire.rpc import RpcClient
from robot_rl.wire.schemas import from_plain, to_plain

REMEMBERED = 64
"""Observations kept here for servers that forget."""


class RemotePolicy:
    """Implements `FrozenPolicy` against `robot_rl.serve`; no torch.

    Raises `DeadlineMissed` when there is no server, or no answer within `timeout_s`; `SpecMismatch` as said above.
    """

    def __init__(self, endpoint: str, timeout_s: float = 1.0, connect_timeout_s: float = 10.0) -> None:
        self.timeout_s = timeout_s
        self._rpc = RpcClient(endpoint)
        self._remembered: OrderedDict[bytes, Observation] = OrderedDict()
        try:
            hello, _ = self._rpc.call("hello", {"protocol": PROTOCOL}, timeout_s=connect_timeout_s)
            self._spec = spec_from_plain(hello)
        except BaseException:
            self._rpc.close()
            raise
        self._hash = self._spec.hash

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> context. Raises `BadObservation` before anything is sent."""
        return self._encode(observations, time.monotonic() + self.timeout_s)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, *noise_shape] -> chunks [B, T, A], SI, float32; one deadline, a repeated encode included."""
        end = time.monotonic() + self.timeout_s
        try:
            return self._decode(context, noise, latent, end)
        except ContextMiss:
            known = [self._remembered.get(handle) for handle in context.handle]
            observations = [observation for observation in known if observation is not None]
            if len(observations) < len(known):
                raise
            self._encode(observations, end)
            return self._decode(context, noise, latent, end)

    def close(self) -> None:
        self._rpc.close()

    def _encode(self, observations: Sequence[Observation], end: float) -> Context:
        arrays: list[Array] = []
        for observation in observations:
            check_observation(observation, self._spec)
        trimmed = [trim(observation, self._spec) for observation in observations]
        reply, results = self._call("encode", {"observations": to_plain(trimmed, arrays)}, arrays, end)
        context = from_plain(Context, reply.get("context"), results)
        expected = (len(trimmed), self._spec.features)
        if context.features.shape != expected or len(context.handle) != len(trimmed):
            raise WireError(f"expected features {expected} and a handle each, got {context.features.shape}")
        self._remember(context.handle, trimmed)
        return context

    def _decode(self, context: Context, noise: Array, latent: Array | None, end: float) -> Array:
        arrays: list[Array] = []
        header: Header = {"handles": list(context.handle), "noise": to_plain(np.asarray(noise, np.float32), arrays)}
        if not context.handle:
            header["context"] = to_plain(context, arrays)
        if latent is not None:
            header["latent"] = to_plain(np.asarray(latent, np.float32), arrays)
        reply, results = self._call("decode", header, arrays, end)
        if self._spec.noise_shape and reply.get("noise_applied") is not True:
            raise SpecMismatch(
                "expected a server that applies the noise and says so, got none: steering would do nothing"
            )
        shape = (len(noise), self._spec.horizon, self._spec.action_space.size)
        if len(results) != 1 or results[0].shape != shape or results[0].dtype != np.float32:
            raise WireError(f"expected chunks float32 {shape}, got {[(a.dtype, a.shape) for a in results]}")
        return results[0]

    def _call(self, name: str, header: Header, arrays: list[Array], end: float) -> tuple[Header, list[Array]]:
        remaining = max(0.0, end - time.monotonic())
        reply, results = self._rpc.call(name, stamp(self._hash) | header, arrays, remaining)
        check_stamp(reply, self._hash)
        return reply, results

    def _remember(self, handles: Sequence[bytes], observations: Sequence[Observation]) -> None:
        for handle, observation in zip(handles, observations, strict=True):
            self._remembered[handle] = observation
            self._remembered.move_to_end(handle)
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
