"""Pictures as JPEG, where client and server both ask for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from robot_rl.errors import BadObservation, ConfigError, WireError
from robot_rl.policy.remote import RemotePolicy
from robot_rl.serve.server import PolicyServer
from robot_rl.types import Array, Observation
from robot_rl.wire.handshake import stamp
from robot_rl.wire.observations import ValuesWriter, values_to_plain
from robot_rl.wire.rpc import RpcClient
from tests.serve.doubles import SeeingPolicy, noise, observation, wait_ready


def policy() -> SeeingPolicy:
    """Whose camera is large enough for JPEG to show anything."""
    seeing = SeeingPolicy()
    seeing.spec = replace(seeing.spec, observation={**seeing.spec.observation, "images.front": (48, 64, 3)})
    return seeing


def seen(brightness: int) -> Observation:
    return replace(observation(), images={"front": np.full((48, 64, 3), brightness, np.uint8)})


@contextmanager
def serving(*, jpeg: bool) -> Iterator[PolicyServer]:
    server, stopping = PolicyServer(policy(), "tcp://127.0.0.1:*", jpeg=jpeg), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    wait_ready(server, policy())
    try:
        yield server
    finally:
        stopping.set()
        thread.join(5)
        server.close()


def test_the_policy_sees_what_jpeg_leaves_and_contexts_are_sent_again() -> None:
    with serving(jpeg=True) as server:
        remote = RemotePolicy(f"{server.endpoint}?jpeg=90")
        context = remote.encode([seen(40), seen(200)])
        np.testing.assert_allclose(context.features[:, -1] * 255, [40, 200], atol=2)
        chunks = remote.decode(context, noise(2))
        server.contexts.clear()
        np.testing.assert_allclose(remote.decode(context, noise(2)), chunks)
        remote.close()


def test_a_server_that_was_not_told_to_takes_none() -> None:
    with serving(jpeg=False) as server:
        with pytest.raises(ConfigError, match="takes no JPEG: start it with `serve-policy --jpeg`"):
            RemotePolicy(f"{server.endpoint}?jpeg=90")
        with pytest.raises(WireError, match="takes pictures as pixels"):
            ask(server, as_jpeg, seen(3))


def test_a_picture_that_is_none_is_named_and_the_next_is_served() -> None:
    with serving(jpeg=True) as server:
        for broken in (np.zeros(8192, np.uint8), np.zeros((48, 64, 3), np.uint8), np.zeros(2**20, np.uint8)):
            with pytest.raises(BadObservation, match=r"images\.front: expected"):
                ask(server, partial(put_in, broken), seen(3))
        ask(server, as_jpeg, seen(3))


def as_jpeg(observations: list[Observation], arrays: list[Array]) -> list[list[int]]:
    writer = ValuesWriter(policy().spec, 90)
    arrays += writer.values(observations)
    return writer.rows(len(observations))


def put_in(picture: Array, observations: list[Observation], arrays: list[Array]) -> list[list[int]]:
    plain = values_to_plain(observations, policy().spec, arrays)
    at = next(i for i, array in enumerate(arrays) if array.shape == (48, 64, 3))
    arrays[at] = picture
    return plain


def ask(
    server: PolicyServer, write: Callable[[list[Observation], list[Array]], list[list[int]]], observation: Observation
) -> None:
    """As a client that sends what it likes."""
    client, arrays = RpcClient(server.endpoint), list[Array]()
    plain = write([observation], arrays)
    try:
        client.call("encode", stamp(policy().spec.hash) | {"observations": plain, "jpeg": True}, arrays)
    finally:
        client.close()


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:1?jpeg=0", "tcp://127.0.0.1:1?jpg=90", "tcp://127.0.0.1:1?jpeg=high"]
)
def test_another_wish_is_refused_before_anything_is_sent(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"\?jpeg=1 to 100"):
        RemotePolicy(endpoint)
