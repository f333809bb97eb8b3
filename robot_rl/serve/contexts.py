"""What the server remembers of what it encoded: contexts by the content of their observations, for a while."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from robot_rl.clock import SECOND, Clock
from robot_rl.errors import ContextMiss
from robot_rl.types import Array, Context, Observation
from robot_rl.wire.observations import value_of


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


def handle_of(observation: Observation, keys: Sequence[str]) -> bytes:
    """[16 bytes] the same for observations in which `keys` show the same; in this process, for another's differ.

    Pictures are hashed with Python's hash of bytes, SipHash with a secret of the process: nobody can make two pictures
    meet, and it costs a third of SHA-256, which would be the dearest thing that a server does with a picture.
    """
    digest = hashlib.blake2b(digest_size=16)
    for key in keys:
        value = value_of(observation, key)
        content = hash(_bytes_of(value))
        digest.update(f"{value.dtype.str}{value.shape}{content}".encode())
    return digest.digest()


def _bytes_of(value: Array) -> bytes:
    """The bytes of `value`; those that came by wire, where that is what it shows, without a copy."""
    frame = value.base.base if isinstance(value.base, np.ndarray) else None
    if isinstance(frame, bytes) and value.flags.c_contiguous and len(frame) == value.nbytes:
        return frame
    return value.tobytes()


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
