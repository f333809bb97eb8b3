"""The model's side of the server: many requests as few calls of the policy, each answered with its share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from robot_rl.errors import ContextMiss, SpecMismatch
from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.batching import Answer, Job
from robot_rl.serve.contexts import ContextCache, join, split
from robot_rl.types import Array, Context
from robot_rl.wire.codec import Packed
from robot_rl.wire.handshake import HANDLE_BYTES, stamp
from robot_rl.wire.observations import example_observation
from robot_rl.wire.rpc import Reply, answer_of
from robot_rl.wire.values import Header

log = logging.getLogger(__name__)

T = TypeVar("T", Job, "Share")


@dataclass
class Share:
    """What one request is to be answered with."""

    job: Job
    context: Context
    encoded: bool
    """Whether the client gets the context: it sent observations."""

    @property
    def repeats(self) -> int:
        """Rows per observation: its noise and its further samples."""
        samples = self.job.asked.samples
        return 1 + (0 if samples is None else samples.shape[1])

    def noise(self) -> Array:
        """[B * repeats, *noise_shape]: of each observation its noise, then its samples."""
        noise, samples = self.job.asked.noise, self.job.asked.samples
        assert noise is not None
        if samples is None:
            return noise
        both: Array = np.concatenate([noise[:, None], samples], 1).reshape(-1, *noise.shape[1:])
        return both


class Model:
    """The policy, its contexts, and what it was asked. All calls but the counters' belong to one thread."""

    def __init__(self, policy: FrozenPolicy, contexts: ContextCache, answer: Answer) -> None:
        self.policy, self.contexts = policy, contexts
        self.misses = 0
        self.failed = 0
        """Calls in which the policy raised something."""
        self._answer = answer
        self._answers: dict[tuple[str, ...], Packed] = {}
        """By the names of their arrays, what answers say beside these."""
        self._spec, self._hash = policy.spec, policy.spec.hash

    def warm_up(self, rows: Sequence[int]) -> None:
        """Encode and decode made-up observations, so that compilers and allocators are done before anyone waits."""
        spec, rng = self._spec, np.random.default_rng(0)
        for batch in rows:
            context = self.policy.encode([example_observation(spec)] * batch)
            noise = rng.standard_normal((2, batch, *spec.noise_shape)).astype(np.float32)
            one, other = (self._decode(context, each, None) for each in noise)
            if spec.noise_shape and np.array_equal(one, other):
                log.warning("%s: other noise gave the same chunks in the warm-up; does it use it?", spec.policy_id)

    def compute(self, jobs: Sequence[Job]) -> None:
        """Answer `jobs`, in one call of `encode` and one of `decode` where that is possible.

        A call of several that fails is made again for each alone, so that an error reaches whom it belongs to.
        """
        known = [share for job in jobs if not job.asked.observations and (share := self._known(job))]
        asking = [job for job in jobs if job.asked.observations]
        seen = self._together(asking, self._encode) if asking else []
        for share in seen:
            if share.job.asked.noise is None:
                self._reply(share, None)
        shares = [share for share in (*known, *seen) if share.job.asked.noise is not None]
        if len(shares) == 1:
            self._together(shares, self._decode_shares)
            return
        groups: dict[tuple[bool, bool], list[Share]] = {}
        for share in shares:
            groups.setdefault((share.job.asked.latent is None, share.context.z is None), []).append(share)
        for group in groups.values():
            self._together(group, self._decode_shares)

    def _known(self, job: Job) -> Share | None:
        if job.asked.context is not None:
            return Share(job, job.asked.context, False)
        try:
            return Share(job, join([self.contexts.get(handle) for handle in job.asked.handles]), False)
        except ContextMiss as error:
            self.misses += 1
            self._fail(job, error)
            return None

    def _encode(self, jobs: Sequence[Job]) -> list[Share]:
        observations = [observation for job in jobs for observation in job.asked.observations]
        context = self.policy.encode(observations)
        if context.features.shape != (len(observations), self._spec.features):
            raise SpecMismatch(f"the policy's features are {context.features.shape}, its spec says {self._spec}")
        handles = tuple([self.contexts.new_handle() for _ in observations])
        whole = Context(context.features, context.z, handles, context.state)
        if len(handles) == 1:
            self.contexts.put(handles[0], whole)
            return [Share(jobs[0], whole, True)]
        singles = split(whole)
        for handle, single in zip(handles, singles, strict=True):
            self.contexts.put(handle, single)
        rows = iter(singles)
        return [Share(job, join([next(rows) for _ in job.asked.observations]), True) for job in jobs]

    def _decode_shares(self, shares: Sequence[Share]) -> list[Share]:
        if len(shares) == 1 and shares[0].repeats == 1:
            (share,), asked = shares, shares[0].job.asked
            chunks = self._decode(share.context, share.noise(), asked.latent)
            self._reply(share, chunks[:, None])
            return []
        context = join(
            [share.context.repeated(share.repeats) if share.repeats > 1 else share.context for share in shares]
        )
        noise = np.concatenate([share.noise() for share in shares])
        latents = [
            np.repeat(latent, share.repeats, 0) for share in shares if (latent := share.job.asked.latent) is not None
        ]
        chunks = self._decode(context, noise, np.concatenate(latents) if latents else None)
        at = 0
        for share in shares:
            rows = len(share.context.features) * share.repeats
            self._reply(share, chunks[at : at + rows].reshape(-1, share.repeats, *chunks.shape[1:]))
            at += rows
        return []

    def _decode(self, context: Context, noise: Array, latent: Array | None) -> Array:
        chunks = np.asarray(self.policy.decode(context, noise, latent), np.float32)
        expected = (len(noise), self._spec.horizon, self._spec.action_space.size)
        if chunks.shape != expected:
            raise SpecMismatch(f"the policy's chunks are {chunks.shape}, its spec says {expected}")
        return chunks

    def _together(self, items: Sequence[T], call: Callable[[Sequence[T]], list[Share]]) -> list[Share]:
        try:
            return call(items)
        except Exception as error:  # whatever a policy raises: the server lives, and who asked is told
            self.failed += 1
            if len(items) == 1:
                self._fail(items[0] if isinstance(items[0], Job) else items[0].job, error)
                return []
        return [share for item in items for share in self._together([item], call)]

    def _reply(self, share: Share, chunks: Array | None) -> None:
        """Answer with the context if it is new to the client, and with chunks [B, repeats, T, A] if there are any."""
        found: dict[str, Array] = {}
        if share.encoded:
            context = share.context
            found["features"] = context.features
            if context.z is not None:
                found["z"] = context.z
            found["handles"] = np.frombuffer(b"".join(context.handle), np.uint8).reshape(-1, HANDLE_BYTES)
        if chunks is not None:
            found["chunks"] = chunks[:, 0]
            if share.repeats > 1:
                found["samples"] = chunks[:, 1:]
        names, arrays = tuple(found), tuple(found.values())
        if (answer := self._answers.get(names)) is None:
            value: Header = stamp(self._hash) | {name: place for place, name in enumerate(names)}
            if chunks is not None:
                value["noise_applied"] = bool(self._spec.noise_shape)
            answer = self._answers[names] = answer_of(value)
        self._answer(share.job.later, lambda: (answer, arrays))

    def _fail(self, job: Job, error: Exception) -> None:
        def fail() -> Reply:
            raise error

        self._answer(job.later, fail)
