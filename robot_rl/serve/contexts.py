"""What the server remembers of what it encoded, for a while: contexts by a handle of each one's own.

A handle is drawn at random: one that another server gave out, or that somebody made up, is unknown, and nobody guesses
another client's. It does not say what was seen: to hash three pictures takes as long as to bring them here, and nobody
asks for a context by what it shows: who has only the observation sends it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from robot_rl.clock import SECOND, Clock
from robot_rl.errors import ContextMiss
from robot_rl.types import Context
from robot_rl.wire.handshake import HANDLE_BYTES

KEEP_S, KEEP_BYTES = 30.0, 2**30
"""How long contexts are kept, and how much of them."""


class ContextCache:
    """Contexts of batch 1 by handle, for `keep_s` seconds after their last use, and at most `size` and `most_bytes`.

    The newest is kept, however large: who has just made it is about to decode it. What they weigh is what their arrays
    and tensors do; where these are, on which device, is not looked at.
    """

    def __init__(self, clock: Clock, keep_s: float = KEEP_S, size: int = 4096, most_bytes: int = KEEP_BYTES) -> None:
        self.bytes = 0
        """Of all that is kept."""
        self._clock = clock
        self._keep_ns = int(keep_s * SECOND)
        self._size, self._most_bytes = size, most_bytes
        self._entries: OrderedDict[bytes, tuple[int, Context, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def new_handle(self) -> bytes:
        """For a context that is to be kept."""
        return os.urandom(HANDLE_BYTES)

    def put(self, handle: bytes, context: Context) -> None:
        """Keep `context`; what is too old or too much goes, the least recently used first."""
        now, weight = self._clock.now_ns(), context.features.nbytes
        if context.z is not None or context.state:
            weight += weight_of((context.z, context.state))
        if handle in self._entries:
            self.bytes -= self._entries.pop(handle)[2]
        self._entries[handle] = now, context, weight
        self.bytes += weight
        while len(self._entries) > 1 and (
            len(self._entries) > self._size
            or self.bytes > self._most_bytes
            or next(iter(self._entries.values()))[0] + self._keep_ns < now
        ):
            self.bytes -= self._entries.popitem(last=False)[1][2]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self.bytes = 0

    def get(self, handle: bytes) -> Context:
        """The context of `handle`. Raises `ContextMiss`."""
        now = self._clock.now_ns()
        stamp_ns, context, weight = self._entries.get(handle, (0, None, 0))
        if context is None or stamp_ns + self._keep_ns < now:
            raise ContextMiss(f"no context {handle.hex()[:8]} (expired, or the server is new): send its observation")
        self._entries[handle] = now, context, weight
        self._entries.move_to_end(handle)
        return context


def weight_of(value: Any) -> int:
    """Bytes of the arrays and tensors in nested lists, tuples and dictionaries; other things count nothing."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    if isinstance(value, list | tuple):
        return sum(map(weight_of, value))
    return sum(map(weight_of, value.values())) if isinstance(value, dict) else 0


def split(context: Context) -> list[Context]:
    """A context of batch B as B contexts of batch 1."""
    rows = [slice(i, i + 1) for i in range(len(context.features))]
    z = context.z
    return [
        Context(context.features[i], None if z is None else z[i], context.handle[i], context.state[i]) for i in rows
    ]


def join(contexts: Sequence[Context]) -> Context:
    """The other way round; contexts of any batch."""
    if len(contexts) == 1:
        return contexts[0]
    latents = [context.z for context in contexts if context.z is not None]
    return Context(
        np.concatenate([context.features for context in contexts]),
        np.concatenate(latents) if latents else None,
        tuple(handle for context in contexts for handle in context.handle),
        tuple(state for context in contexts for state in context.state),
    )
