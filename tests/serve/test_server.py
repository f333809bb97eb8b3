import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_rl.clock import SECOND, SteppedClock
from robot_rl.errors import BadAction, BadObservation, ConfigError, ContextMiss, SpecMismatch, WireError
from robot_rl.serve.contexts import ContextCache
from robot_rl.serve.server import PolicyServer
from robot_rl.types import Array, Context, Observation
from robot_rl.wire.handshake import PROTOCOL, spec_from_plain, stamp
from robot_rl.wire.observations import values_to_plain
from robot_rl.wire.rpc import RpcClient
from tests.serve.doubles import SeeingPolicy, noise, observation, wait_ready


@contextmanager
def serving(policy: SeeingPolicy, **options: Any) -> Iterator[tuple[PolicyServer, RpcClient]]:
    server, stopping = PolicyServer(policy, "tcp://127.0.0.1:*", **options), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    wait_ready(server, policy)
    client = RpcClient(server.endpoint)
    try:
        yield server, client
    finally:
        stopping.set()
        thread.join(5)
        client.close()
        server.close()


def encode(client: RpcClient, policy: SeeingPolicy, observations: list[Observation]) -> Context:
    arrays: list[Array] = []
    plain = values_to_plain(observations, policy.spec, arrays)
    reply, results = client.call("encode", stamp(policy.spec.hash) | {"observations": plain}, arrays)
    handles = tuple(bytes(row) for row in results[reply["handles"]])
    return Context(results[reply["features"]], results[reply["z"]], handles)


def decode(client: RpcClient, policy: SeeingPolicy, handles: tuple[bytes, ...], given: Array, /, **more: Any) -> Array:
    header = stamp(policy.spec.hash) | {"handles": 1, "noise": 0} | more
    named = np.frombuffer(b"".join(handles), np.uint8).reshape(len(handles), -1)
    reply, results = client.call("decode", header, [given, named])
    assert reply["noise_applied"] is True
    return results[0]


def test_hello_says_protocol_and_spec() -> None:
    policy = SeeingPolicy()
    with serving(policy) as (_, client):
        hello, _ = client.call("hello", {"protocol": PROTOCOL})
        assert spec_from_plain(hello).hash == policy.spec.hash
        with pytest.raises(SpecMismatch, match=f"expected policy protocol {PROTOCOL} .*, got 99"):
            client.call("hello", {"protocol": 99})


def test_contexts_stay_and_decode_by_handle() -> None:
    policy = SeeingPolicy()
    seen = [observation(0), observation(1)]
    with serving(policy) as (server, client):
        context = encode(client, policy, seen)
        chunks = decode(client, policy, context.handle, noise(2))
        assert len(server.contexts) == 2
    np.testing.assert_array_equal(chunks, policy.decode(policy.encode(seen), noise(2)))


def test_each_context_has_a_handle_of_its_own_and_another_servers_is_unknown() -> None:
    policy = SeeingPolicy()
    with serving(policy) as (server, client):
        handles = (
            encode(client, policy, [observation(0), observation(0)]).handle
            + encode(client, policy, [observation(0)]).handle
        )
        assert len({*handles}) == len(server.contexts) == 3
    with serving(policy) as (_, client):
        encode(client, policy, [observation(0)])
        for handle in handles:
            with pytest.raises(ContextMiss, match="or the server is new"):
                decode(client, policy, (handle,), noise())


def test_a_context_expires_and_a_miss_is_counted() -> None:
    policy, clock = SeeingPolicy(), SteppedClock()
    with serving(policy, clock=clock, keep_s=30.0) as (server, client):
        handles = encode(client, policy, [observation(0)]).handle
        clock.advance(29 * SECOND)
        decode(client, policy, handles, noise())  # each use keeps it for another 30 s
        clock.advance(31 * SECOND)
        with pytest.raises(ContextMiss, match="send its observation"):
            decode(client, policy, handles, noise())
        assert server.misses == 1
        assert client.call("status")[0]["misses"] == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tcp_pose": np.zeros(6)}, r"tcp_pose: expected shape \(7,\), got \(6,\)"),
        ({"images": {"front": np.zeros((4, 4, 3))}}, "images.front: expected uint8, got float64"),
        ({"extra": {"bin_pose": np.array([0, np.nan, 0, 0])}}, "extra.bin_pose: expected finite"),
    ],
)
def test_a_bad_observation_is_named_and_the_next_is_served(wrong: dict[str, Any], words: str) -> None:
    policy = SeeingPolicy()
    with serving(policy) as (_, client):
        with pytest.raises(BadObservation, match=words) as caught:
            encode(client, policy, [replace(observation(), **wrong)])
        assert "Traceback" not in str(caught.value)
        assert encode(client, policy, [observation()]).features.shape == (1, 12)
    assert policy.encoded == 1


@pytest.mark.parametrize("plain", [None, 3, [[0, 1]], [[0, 1, 3]], [[0, 1, -1]], [[0, 1, True]], [["0", 1, 2]], []])
def test_observations_that_are_none_are_refused(plain: Any) -> None:
    policy = SeeingPolicy()
    with serving(policy) as (_, client):
        arrays: list[Array] = []
        values_to_plain([observation()], policy.spec, arrays)
        with pytest.raises(WireError):
            client.call("encode", stamp(policy.spec.hash) | {"observations": plain}, arrays)
        assert encode(client, policy, [observation()]).features.shape == (1, 12)


@pytest.mark.parametrize(
    ("given", "more", "error"),
    [
        (noise(2), {}, BadAction),
        (noise().astype(np.float64), {}, BadAction),
        (np.full((1, 8, 4), np.nan, np.float32), {}, BadAction),
        (noise(), {"latent": 0}, BadAction),
        (noise(), {"noise": None}, WireError),
        (noise(), {"noise": 1}, BadAction),
        (noise(), {"noise": 2}, WireError),
        (noise(), {"handles": ["text"]}, WireError),
        (noise(), {"handles": 0}, WireError),
        (noise(), {"handles": 2}, WireError),
        (noise(), {"handles": True}, WireError),
        (noise(), {"handles": None}, WireError),
    ],
)
def test_bad_noise_latent_or_handles_are_refused(given: Array, more: dict[str, Any], error: type[Exception]) -> None:
    policy = SeeingPolicy()
    with serving(policy) as (_, client):
        handles = encode(client, policy, [observation()]).handle
        with pytest.raises(error):
            decode(client, policy, handles, given, **more)
        assert decode(client, policy, handles, noise()).shape == (1, 8, 4)


def test_a_client_of_another_model_is_refused_with_both_hashes() -> None:
    policy, other = SeeingPolicy(), SeeingPolicy("another")
    with serving(policy) as (_, client), pytest.raises(SpecMismatch, match=policy.spec.hash[:12]) as caught:
        encode(client, other, [observation()])
    assert other.spec.hash[:12] in str(caught.value)
    with serving(policy) as (_, client):
        handles = encode(client, policy, [observation()]).handle
        with pytest.raises(SpecMismatch, match=policy.spec.hash[:12]):
            decode(client, other, handles, noise())


def test_the_cache_is_bounded_and_forgets_the_least_recently_used() -> None:
    cache, context = ContextCache(SteppedClock(), size=3), Context(np.zeros((1, 2), np.float32))
    for name in (b"a", b"b", b"c"):
        cache.put(name, context)
    cache.get(b"a")
    cache.put(b"d", context)
    assert len(cache) == 3
    cache.get(b"a")
    with pytest.raises(ContextMiss):
        cache.get(b"b")


def test_the_cache_is_bounded_by_what_contexts_weigh_and_keeps_the_newest() -> None:
    cache = ContextCache(SteppedClock(), most_bytes=1000)
    kilobyte = Context(np.zeros((1, 5), np.float32), state=({"kv": [np.zeros(400, np.uint8)], "kind": dict},))
    for name in (b"a", b"b", b"c"):
        cache.put(name, kilobyte)
    assert (len(cache), cache.bytes) == (2, 840)
    cache.put(b"c", kilobyte)  # in its own place
    assert (len(cache), cache.bytes) == (2, 840)
    with pytest.raises(ContextMiss):
        cache.get(b"a")
    cache.put(b"large", Context(np.zeros((1, 5000), np.float32)))
    assert (len(cache), cache.bytes) == (1, 20_000)
    assert cache.get(b"large").features.shape == (1, 5000)


def test_other_machines_are_kept_out_unless_overridden() -> None:
    with pytest.raises(ConfigError, match="loopback"):
        PolicyServer(SeeingPolicy(), "tcp://0.0.0.0:*")


@pytest.mark.parametrize(
    "name", ["nothing.safetensors", "tests.serve.doubles:nothing", "tests.serve.doubles:observation"]
)
def test_the_command_line_refuses_what_is_no_policy(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "robot_rl.serve", name], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("ConfigError: ")


def test_the_server_imports_numpy_zmq_and_msgpack_only() -> None:
    code = (
        "import sys; import robot_rl.serve.server, robot_rl.serve.__main__, robot_rl.policy.remote;"
        "print([m for m in ('torch', 'pydantic', 'fastapi', 'mcap', 'safetensors', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "[]"
