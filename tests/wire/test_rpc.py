import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import zmq

from robot_rl.errors import ConfigError, DeadlineMissed, LabelConflict, RobotRLError, WireError
from robot_rl.types import Array
from robot_rl.wire.codec import pack
from robot_rl.wire.rpc import OUTSTANDING, Later, Reply, RpcClient, RpcServer, require_local


@pytest.fixture
def endpoint() -> Iterator[str]:
    with TemporaryDirectory() as folder:  # shorter than tmp_path: the name of a Unix socket has 107 bytes
        yield f"ipc://{folder}/rpc"


def echo(header: dict[str, Any], arrays: list[Array]) -> Reply:
    return header, arrays


def conflict(header: dict[str, Any], arrays: list[Array]) -> Reply:
    raise LabelConflict("expected revision 3, got 2")


def bug(header: dict[str, Any], arrays: list[Array]) -> Reply:
    raise KeyError("secret of the server")


def slow(header: dict[str, Any], arrays: list[Array]) -> Reply:
    time.sleep(header["s"])
    return header, ()


HANDLERS = {"echo": echo, "conflict": conflict, "bug": bug, "slow": slow}


@contextmanager
def served(endpoint: str, **more: Any) -> Iterator[RpcServer]:
    server, stopping = RpcServer(endpoint, HANDLERS | more), threading.Event()

    def run() -> None:
        while not stopping.is_set():
            server.poll(20)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server
    finally:
        stopping.set()
        thread.join(5)
        server.close()


@contextmanager
def connected(endpoint: str) -> Iterator[RpcClient]:
    client = RpcClient(endpoint)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def raw_peer(endpoint: str) -> Iterator["zmq.Socket[bytes]"]:
    peer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    peer.setsockopt(zmq.LINGER, 0)
    peer.connect(endpoint)
    try:
        yield peer
    finally:
        peer.close()


def test_header_and_arrays_go_there_and_back(endpoint: str) -> None:
    with served(endpoint), connected(endpoint) as client:
        header, arrays = client.call("echo", {"a": [1, None]}, [np.eye(3), np.float32(2)])
    assert header == {"a": [1, None]}
    np.testing.assert_array_equal(arrays[0], np.eye(3))
    assert arrays[1].shape == ()


def test_errors_keep_their_class_and_strangers_their_secrets(endpoint: str) -> None:
    with served(endpoint), connected(endpoint) as client:
        with pytest.raises(LabelConflict, match="expected revision 3"):
            client.call("conflict")
        with pytest.raises(RobotRLError, match="KeyError") as caught:
            client.call("bug")
        assert "secret" not in str(caught.value)
        with pytest.raises(WireError, match="did you mean 'echo'"):
            client.call("ecko")
        assert client.call("echo", {"still": "there"})[0] == {"still": "there"}


def test_an_answer_that_cannot_be_packed_is_an_error_at_the_caller(endpoint: str) -> None:
    def wrong(header: dict[str, Any], arrays: list[Array]) -> Reply:
        return {"x": object()}, ()

    with served(endpoint, wrong=wrong), connected(endpoint) as client, pytest.raises(WireError, match="plain values"):
        client.call("wrong")


def test_a_late_reply_is_dropped(endpoint: str) -> None:
    with served(endpoint), connected(endpoint) as client:
        with pytest.raises(DeadlineMissed, match="slow: no answer"):
            client.call("slow", {"s": 0.15}, timeout_s=0.05)
        assert client.call("echo", {"n": 2})[0] == {"n": 2}


def test_nobody_there_is_a_missed_deadline_and_nothing_is_sent_later(endpoint: str) -> None:
    with connected(endpoint) as client:
        began = time.monotonic()
        with pytest.raises(DeadlineMissed, match="nobody listens"):
            client.call("echo", timeout_s=0.1)
        assert 0.09 < time.monotonic() - began < 2
        with served(endpoint) as server:
            assert client.call("echo", {"a": 1}, timeout_s=5)[0] == {"a": 1}
            assert server.served == 1


def test_a_server_that_comes_back_is_found_again(endpoint: str) -> None:
    with connected(endpoint) as client:
        for n in range(3):
            with served(endpoint):
                assert persistently(client, {"n": n}) == {"n": n}


def persistently(client: RpcClient, header: dict[str, Any]) -> dict[str, Any]:
    """Ask again when the first request went down with the previous server."""
    for _ in range(20):
        with suppress(DeadlineMissed):
            return client.call("echo", header, timeout_s=0.5)[0]
    raise AssertionError("no answer in 20 attempts")


def test_threads_share_a_client(endpoint: str) -> None:
    found: list[int] = []
    with served(endpoint), connected(endpoint) as client:

        def ask(n: int) -> None:
            found.extend(client.call("echo", {"n": n}, timeout_s=5)[0]["n"] for _ in range(20))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(found) == sorted(20 * [0, 1, 2, 3])


def test_a_handler_may_answer_later_from_another_thread(endpoint: str) -> None:
    waiting: list[Later] = []

    def later(header: dict[str, Any], arrays: list[Array]) -> Later:
        waiting.append(Later())
        threading.Timer(0.05, lambda: server.answer(waiting[-1], lambda: ({"late": True}, [np.ones(2)]))).start()
        return waiting[-1]

    with served(endpoint, later=later) as server, connected(endpoint) as client:
        header, arrays = client.call("later", timeout_s=2)
    assert header == {"late": True}
    assert arrays[0].tolist() == [1, 1]


def test_posts_arrive_in_order_and_their_errors_come_out_later(endpoint: str) -> None:
    seen: list[int] = []

    def note(header: dict[str, Any], arrays: list[Array]) -> Reply:
        seen.append(header["n"])
        if header["n"] == 40:
            raise LabelConflict("the 40th")
        return {}, ()

    with served(endpoint, note=note), connected(endpoint) as client:
        for n in range(41):
            client.post("note", {"n": n})
        with pytest.raises(LabelConflict, match="the 40th"):
            client.call("echo", timeout_s=5)
        assert seen == list(range(41))
        assert client.call("echo", {"fine": 1})[0] == {"fine": 1}


def test_posts_wait_for_a_server_that_is_behind(endpoint: str) -> None:
    with served(endpoint), connected(endpoint) as client:
        client.post("slow", {"s": 0.5})
        for _ in range(OUTSTANDING - 1):
            client.post("echo")
        with pytest.raises(DeadlineMissed, match="requests behind"):
            client.post("echo", timeout_s=0.05)


def hostile_messages() -> list[list[bytes]]:
    good = bytes(pack(1, {"call": "echo", "args": {}}))
    requests: list[dict[str, Any]] = [{"call": 7, "args": {}}, {"call": "echo", "args": []}, {"call": "echo"}, {}]
    malformed = [[bytes(pack(1, request))] for request in requests]
    junk = [[b""], [b"\x91" * 5000], [os.urandom(200)], [good, b"extra"], [good[:-1]], [good + b"1"], [b"x"] * 10_000]
    return malformed + junk


def test_hostile_messages_are_dropped_counted_and_the_server_lives(endpoint: str) -> None:
    messages = hostile_messages()
    with served(endpoint) as server, raw_peer(endpoint) as peer, connected(endpoint) as client:
        for _ in range(20):
            for message in messages:
                peer.send_multipart(message)
        deadline = time.monotonic() + 10
        while server.dropped < 20 * len(messages) and time.monotonic() < deadline:
            assert client.call("echo", {"a": 1}, timeout_s=5)[0] == {"a": 1}
        assert server.dropped == 20 * len(messages)
        assert peer.poll(0) == 0


def test_a_flood_does_not_keep_a_control_loop() -> None:
    server = RpcServer("inproc://flood", HANDLERS)
    with raw_peer("inproc://flood") as peer:
        for _ in range(200):
            peer.send(pack(1, {"call": "echo", "args": {}}))
        assert server.poll(100) == 64
        assert server.poll(0) == 64
    server.close()


def test_an_endpoint_is_taken_once(endpoint: str) -> None:
    first = RpcServer("tcp://127.0.0.1:*", HANDLERS)
    with pytest.raises(ConfigError, match="choose a free endpoint"):
        RpcServer(first.endpoint, HANDLERS)
    first.close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://*:5600",
        "tcp://0.0.0.0:5600",
        "tcp://192.168.1.4:1",
        "tcp://[::]:1",
        "tcp://127.0.0.1.example.org:1",
        "udp://x:1",
    ],
)
def test_other_machines_are_kept_out(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        RpcServer(endpoint, HANDLERS)


@pytest.mark.parametrize(
    "endpoint", ["ipc:///tmp/x", "inproc://x", "tcp://127.0.0.1:1", "tcp://localhost:1", "tcp://[::1]:1"]
)
def test_this_machine_is_let_in(endpoint: str) -> None:
    require_local(endpoint)
