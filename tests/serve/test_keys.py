"""CURVE: who is let in, who is not, and what nobody gets to read."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import zmq

from robot_rl.errors import ConfigError, DeadlineMissed
from robot_rl.policy.remote import RemotePolicy
from robot_rl.serve.server import PolicyServer
from robot_rl.wire.codec import pack
from robot_rl.wire.keys import (
    ClientKeys,
    ServerKeys,
    add_client,
    new_server_keys,
    read_keys,
    secure_client,
    write_keys,
)
from tests.serve.doubles import SeeingPolicy, noise, observation, wait_ready


@contextmanager
def serving(keys: ServerKeys) -> Iterator[PolicyServer]:
    policy = SeeingPolicy()
    server, stopping = PolicyServer(policy, "tcp://127.0.0.1:*", keys=keys), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    wait_ready(server, policy)
    try:
        yield server
    finally:
        stopping.set()
        thread.join(5)
        server.close()


@pytest.fixture(scope="module")
def pair() -> tuple[ServerKeys, ClientKeys]:
    return add_client(new_server_keys(), "robot")


def test_a_client_that_the_server_names_is_served(pair: tuple[ServerKeys, ClientKeys]) -> None:
    with serving(pair[0]) as server:
        remote = RemotePolicy(server.endpoint, keys=pair[1])
        seen = remote.infer([observation()], noise())
        np.testing.assert_array_equal(remote.decode(seen.context, noise()), seen.chunks)
        assert remote.status()["refused"] == 0
        remote.close()


def strangers(pair: tuple[ServerKeys, ClientKeys]) -> dict[str, ClientKeys | None]:
    _, unknown = add_client(pair[0], "unknown")  # knows the server, which does not know it
    other_server = ClientKeys(pair[1].public, pair[1].secret, new_server_keys().public)
    return {"no key": None, "unknown key": unknown, "expects another server": other_server}


@pytest.mark.parametrize("who", ["no key", "unknown key", "expects another server"])
def test_a_stranger_is_refused_and_changes_nothing(
    pair: tuple[ServerKeys, ClientKeys], who: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(pair[0]) as server:
        known = RemotePolicy(server.endpoint, keys=pair[1])
        before = known.status()
        with pytest.raises(DeadlineMissed) as caught:
            RemotePolicy(server.endpoint, connect_timeout_s=0.3, keys=strangers(pair)[who])
        after = known.status()
        known.close()
    if who == "unknown key":
        assert after["refused"] > before["refused"] == 0
        assert "refused a client with an unknown key" in caplog.text
    unchanged = ("dropped", "contexts", "misses", "calls", "waiting", "failed")
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert after["served"] == before["served"] + 1, "the status itself"
    for keys in (*pair, strangers(pair)[who]):
        if keys is not None:
            assert keys.secret not in caplog.text + str(caught.value) + repr(keys)


def test_a_stranger_who_floods_keeps_nobody_out(pair: tuple[ServerKeys, ClientKeys]) -> None:
    stranger = strangers(pair)["unknown key"]
    assert stranger is not None
    with serving(pair[0]) as server:
        known = RemotePolicy(server.endpoint, keys=pair[1], timeout_s=5.0)
        context = zmq.Context()
        sockets = [context.socket(zmq.DEALER) for _ in range(20)]
        for socket in sockets:
            socket.setsockopt(zmq.LINGER, 0)
            secure_client(socket, stranger)
            socket.connect(server.endpoint)
            for _ in range(10):
                with suppress(zmq.Again):
                    socket.send(pack(1, {"call": "encode", "args": {}}), zmq.NOBLOCK)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            known.infer([observation()], noise())
        status = known.status()
        assert status["refused"] >= 20
        assert (status["dropped"], status["failed"]) == (0, 0)
        known.close()
        context.destroy(linger=0)


def test_key_files_are_for_their_owner_alone_and_never_overwritten(
    tmp_path: Path, pair: tuple[ServerKeys, ClientKeys]
) -> None:
    path = tmp_path / "server.key"
    write_keys(path, pair[0])
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_keys(path, ServerKeys) == pair[0]
    with pytest.raises(ConfigError, match="never overwritten"):
        write_keys(path, new_server_keys())
    with pytest.raises(ConfigError, match="of a client"):
        read_keys(path, ClientKeys)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(path, ServerKeys)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind": "ServerKeys", "public": 1}', '{"kind": "ServerKeys"}', "\x00"]
)
def test_a_damaged_key_file_is_refused_without_its_contents(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="expected the key file of a server"):
        read_keys(path, ServerKeys)


def test_keys_open_the_server_to_other_machines(pair: tuple[ServerKeys, ClientKeys]) -> None:
    with pytest.raises(ConfigError, match=r"robot-rl keys.*--allow-remote"):
        PolicyServer(SeeingPolicy(), "tcp://0.0.0.0:*")
    PolicyServer(SeeingPolicy(), "tcp://0.0.0.0:*", keys=pair[0]).close()
