"""What the server remembers of what it encoded, for a while: contexts by a handle of each one's own.

A handle is drawn at random: one that another server gave out, or that somebody made up, is unknown, and nobody guesses
another client's. It does not say what was seen: to hash three pictures takes as long as to bring them here, and nobody
asks for a context by what it shows: who has only the observation sends it.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from robot_rl.clock import SECOND, Clock
from robot_rl.errors import ContextMiss
from robot_rl.types import Context
from robot_rl.wire.handshake import HANDLE_BYTES


class ContextCache:
    """Contexts of batch 1 by handle, for `keep_s` seconds after their last use and at most `size` of them."""

    def __init__(self, clock: Clock, keep_s: float = 30.0, size: int = 4096) -> None:
        self._clock = clock
        self._keep_ns = int(keep_s * SECOND)
        self._size = size
        self._entries: OrderedDict[bytes, tuple[int, Context]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def new_handle(self) -> bytes:
        """For a context that is to be kept."""
        return secrets.token_bytes(HANDLE_BYTES)

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
