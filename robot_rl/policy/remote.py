"""A frozen policy in another process or on another machine, behind the same two calls.

Every call has a deadline; the socket reconnects by itself, so that a server may be killed and started again. A server
that has forgotten a context gets its observation once more. One that now serves another model, speaks another protocol
or does not say that it applied the noise is refused.

A control loop does not wait in `encode` and `decode`: `begin_encode` and `begin_decode` return at once, and their
`Pending` is asked when there is time. One request is open at a time; to begin another gives the former up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from robot_rl.errors import (
    ConfigError,
    ContextMiss,
    DeadlineMissed,
    PolicyReplaced,
    RobotRLError,
    SpecMismatch,
    WireError,
)
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.asking import Answer, Asking, question
from robot_rl.wire.codec import Packed
from robot_rl.wire.handshake import HANDLE_BYTES, check_stamp, greeting, spec_from_plain, stamp
from robot_rl.wire.keys import ClientKeys
from robot_rl.wire.observations import ValuesWriter
from robot_rl.wire.pictures import QUALITIES, require_pillow
from robot_rl.wire.values import Header

REMEMBERED = 64
"""Observations kept here for servers that forget."""

T = TypeVar("T")


class Question(NamedTuple):
    """One request of a call; a call that meets a forgotten context has three."""

    name: str
    asked: Packed
    arrays: Sequence[Array]


Steps = Generator[Question, Answer, T]


class Inferred(NamedTuple):
    """What `infer` brings."""

    context: Context
    chunks: Array
    """[B, T, A] SI float32."""
    samples: Array | None
    """[B, K, T, A] SI float32, or None."""


class RemotePolicy:
    """Implements `FrozenPolicy` against `robot_rl.serve`; no torch.

    `tcp://HOST:PORT?jpeg=90` sends pictures as JPEG of that quality, to a server that takes it.
    Raises `DeadlineMissed` when there is no server, or no answer within `timeout_s`; `SpecMismatch` as said above, and
    `PolicyReplaced`, which is one, when it is another server than the one that this was connected to.
    """

    def __init__(
        self,
        endpoint: str,
        timeout_s: float = 1.0,
        connect_timeout_s: float = 10.0,
        keys: ClientKeys | None = None,
    ) -> None:
        self.endpoint, jpeg = asked_of(endpoint)
        self.timeout_s = timeout_s
        self.missed = 0
        """Calls without an answer in time."""
        self._asking = Asking(self.endpoint, keys=keys)
        self._remembered: OrderedDict[bytes, Observation] = OrderedDict()
        try:
            hello, _ = self._wait("hello", greeting(), connect_timeout_s)
            self._spec = spec_from_plain(hello)
            if jpeg is not None and hello.get("jpeg") is not True:
                raise ConfigError(
                    f"{endpoint}: that server takes no JPEG: start it with `serve-policy --jpeg`, or leave out ?jpeg="
                )
        except BaseException:
            self._asking.close()
            raise
        self._write, self._jpeg = ValuesWriter(self._spec, jpeg), {} if jpeg is None else {"jpeg": True}
        self._asked: dict[tuple[object, ...], Packed] = {}
        """By what they hold, requests that were made before."""
        self.spec_hash = self._spec.hash
        """As it was at the handshake."""

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    @property
    def late(self) -> int:
        """Replies that came after their deadline, and were dropped."""
        return self._asking.late

    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> context. Raises `BadObservation` before anything is sent."""
        return self.begin_encode(observations).wait()

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, *noise_shape] -> chunks [B, T, A], SI, float32; one deadline, a repeated encode included."""
        return self.begin_decode(context, noise, latent).wait()

    def decode_with_samples(
        self, context: Context, noise: Array, samples: Array, latent: Array | None = None
    ) -> tuple[Array, Array]:
        """`decode`, and samples [B, K, *noise_shape] -> chunks [B, K, T, A] of the same contexts in the same call."""
        return self._begin(self._decoding(context, noise, latent, samples)).wait()

    def infer(self, observations: Sequence[Observation], noise: Array, samples: Array | None = None) -> Inferred:
        """`encode` and `decode` in one journey, for a noise [B, *noise_shape] that was drawn before the features."""
        return self._begin(self._inferring(observations, noise, samples)).wait()

    def begin_encode(self, observations: Sequence[Observation]) -> Pending[Context]:
        """As `encode`, to be waited for elsewhere."""
        return self._begin(self._encoding(observations))

    def begin_decode(self, context: Context, noise: Array, latent: Array | None = None) -> Pending[Array]:
        """As `decode`, to be waited for elsewhere."""
        return self._begin(self._decoding_alone(context, noise, latent))

    def status(self) -> Mapping[str, Any]:
        """The server's counters. Raises `DeadlineMissed`."""
        return self._wait("status", {}, self.timeout_s)[0]

    def close(self) -> None:
        self._asking.close()

    def _begin(self, steps: Steps[T]) -> Pending[T]:
        return Pending(self, self._asking, steps, time.monotonic() + self.timeout_s)

    def _wait(self, name: str, header: Header, timeout_s: float) -> Answer:
        self._asking.begin(name, header, (), time.monotonic() + timeout_s)
        while not self._asking.answered(timeout_s):
            pass
        return self._asking.take()

    def _encoding(self, observations: Sequence[Observation]) -> Steps[Context]:
        reply, results = yield self._question("encode", self._write.values(observations), len(observations), {})
        return self._context(observations, reply, results)

    def _inferring(self, observations: Sequence[Observation], noise: Array, samples: Array | None) -> Steps[Inferred]:
        values = self._write.values(observations)
        arrays, places = _noises(noise, samples, len(values))
        reply, results = yield self._question("encode", values + arrays, len(observations), places)
        context = self._context(observations, reply, results)
        return Inferred(context, *self._chunks(reply, results, noise, samples))

    def _decoding_alone(self, context: Context, noise: Array, latent: Array | None) -> Steps[Array]:
        chunks, _ = yield from self._decoding(context, noise, latent, None)
        return chunks

    def _decoding(
        self, context: Context, noise: Array, latent: Array | None, samples: Array | None
    ) -> Steps[tuple[Array, Array]]:
        arrays, places = _noises(noise, samples)
        at = len(arrays)
        if context.handle:
            places["handles"] = at
            arrays.append(_handles(context.handle))
        else:
            given = {"features": context.features} | ({} if context.z is None else {"z": context.z})
            places["context"] = tuple((name, at + i) for i, name in enumerate(given))
            arrays += given.values()
        if latent is not None:
            places["latent"] = len(arrays)
            arrays.append(np.asarray(latent, np.float32))
        question = self._question("decode", arrays, 0, places)
        try:
            reply, results = yield question
        except ContextMiss:
            known = [self._remembered.get(handle) for handle in context.handle]
            observations = [observation for observation in known if observation is not None]
            if len(observations) < len(known):
                raise
            again = yield from self._encoding(observations)
            arrays[at] = _handles(again.handle)
            reply, results = yield question
        chunks, sampled = self._chunks(reply, results, noise, samples)
        return chunks, np.empty((len(noise), 0, *chunks.shape[1:]), np.float32) if sampled is None else sampled

    def _question(self, name: str, arrays: Sequence[Array], batch: int, places: Mapping[str, Any]) -> Question:
        """The first of `arrays` are the values of `batch` observations; `places` says where others are."""
        key = (name, batch, *places.items())
        asked = self._asked.get(key)
        if asked is None:
            nested = {name: dict(at) if isinstance(at, tuple) else at for name, at in places.items()}
            seen = {"observations": self._write.rows(batch), **self._jpeg} if batch else {}
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            asked = self._asked[key] = question(name, stamp(self.spec_hash) | seen | nested)
        return Question(name, asked, arrays)

    def _context(self, observations: Sequence[Observation], reply: Mapping[str, Any], results: list[Array]) -> Context:
        batch, latent = len(observations), self._spec.latent
        features = _result("features", reply, results, (batch, self._spec.features))
        z = None if latent is None else _result("z", reply, results, (batch, latent))
        handles = _result("handles", reply, results, (batch, HANDLE_BYTES), np.uint8)
        context = Context(features, z, tuple([row.tobytes() for row in handles]))
        for handle, observation in zip(context.handle, observations, strict=True):
            self._remembered[handle] = self._write.trim(observation)
        while len(self._remembered) > max(REMEMBERED, len(observations)):
            self._remembered.popitem(last=False)
        return context

    def _chunks(
        self, reply: Mapping[str, Any], results: list[Array], noise: Array, samples: Array | None
    ) -> tuple[Array, Array | None]:
        if self._spec.noise_shape and reply.get("noise_applied") is not True:
            raise SpecMismatch(
                "expected a server that applies the noise and says so, got none: steering would do nothing"
            )
        shape = (self._spec.horizon, self._spec.action_space.size)
        chunks = _result("chunks", reply, results, (len(noise), *shape))
        if samples is None or samples.shape[1] == 0:
            return chunks, None
        return chunks, _result("samples", reply, results, (*samples.shape[:2], *shape))


class Pending(Generic[T]):
    """A call under way. It counts as missed when its deadline passes."""

    def __init__(self, policy: RemotePolicy, asking: Asking, steps: Steps[T], end: float) -> None:
        self._policy, self._asking, self._steps, self._end = policy, asking, steps, end
        self._result: T | None = None
        self._error: RobotRLError | None = None
        self._done = False
        self._ask(next(steps))

    def ready(self, wait_s: float = 0.0) -> bool:
        """Whether `result` is there, or the reason why not; waits no longer than `wait_s`."""
        until = time.monotonic() + wait_s
        while not self._done:
            if self._asking.number != self._number:  # another call was begun
                self.cancel()
            elif self._asking.answered(max(0.0, until - time.monotonic())):
                self._go_on()
            else:
                break
        return self._done

    def result(self) -> T:
        """What the call returns, or raises."""
        if not self._done:
            raise WireError("expected a call that is ready, got one under way: ask `ready` first")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # done and without error: the generator has returned it

    def wait(self) -> T:
        """The result, at the deadline at the latest."""
        while not self.ready(max(0.0, self._end - time.monotonic())):
            pass
        return self.result()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        if not self._done:
            if self._asking.number == self._number:
                self._asking.give_up()
            self._done, self._error = True, DeadlineMissed("given up")

    def _go_on(self) -> None:
        """Hand the answer to the call, and ask what it wants to know next."""
        try:
            try:
                reply, results = self._asking.take()
                check_stamp(reply, self._policy.spec_hash)
            except SpecMismatch as error:
                raise PolicyReplaced(f"the server at {self._policy.endpoint} was replaced: {error}") from error
            except ContextMiss as error:
                self._ask(self._steps.throw(error))
                return
            self._ask(self._steps.send((reply, results)))
        except StopIteration as end:
            self._done, self._result = True, end.value
        except RobotRLError as error:
            self._policy.missed += isinstance(error, DeadlineMissed)
            self._done, self._error = True, error

    def _ask(self, question: Question) -> None:
        self._number = self._asking.begin(*question, self._end)


def asked_of(endpoint: str) -> tuple[str, int | None]:
    """`tcp://HOST:PORT?jpeg=QUALITY` -> the endpoint, and the quality or None. Raises `ConfigError`."""
    where, _, asked = endpoint.partition("?")
    if not asked:
        return where, None
    name, _, quality = asked.partition("=")
    if name != "jpeg" or not quality.isdecimal() or int(quality) not in QUALITIES:
        raise ConfigError(f"endpoint {endpoint!r}: expected nothing or ?jpeg=1 to 100 after the address")
    require_pillow()
    return where, int(quality)


def _handles(handles: Sequence[bytes]) -> Array:
    """[B, 16] uint8. Raises `WireError` for what no server has given out."""
    if any(len(handle) != HANDLE_BYTES for handle in handles):
        raise WireError(f"handles: expected {HANDLE_BYTES} bytes each, as a policy server gives them")
    return np.frombuffer(b"".join(handles), np.uint8).reshape(len(handles), -1)


def _noises(noise: Array, samples: Array | None, first: int = 0) -> tuple[list[Array], dict[str, Any]]:
    """The arrays, and where they are in a message when `first` others come before them."""
    arrays, places = [np.asarray(noise, np.float32)], {"noise": first}
    if samples is not None:
        arrays.append(np.asarray(samples, np.float32))
        places["samples"] = first + 1
    return arrays, places


def _result(
    name: str, reply: Mapping[str, Any], results: list[Array], shape: tuple[int, ...], kind: type = np.float32
) -> Array:
    """An array of a reply. Raises `WireError` for another shape or dtype."""
    index = reply.get(name)
    if type(index) is not int or not 0 <= index < len(results):
        raise WireError(f"{name}: expected the index of one of {len(results)} arrays, got {str(index)[:32]!r}")
    value = results[index]
    if value.shape != shape or value.dtype != kind:
        raise WireError(f"{name}: expected {kind.__name__} {shape}, got {value.dtype} {value.shape}")
    return value
