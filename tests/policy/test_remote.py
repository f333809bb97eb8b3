import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from robot_rl.clock import SECOND, SteppedClock
from robot_rl.errors import BadObservation, ContextMiss, DeadlineMissed, SpecMismatch
from robot_rl.policy.remote import RemotePolicy
from robot_rl.serve.server import PolicyServer
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Array, Context, Observation
from robot_rl.wire.handshake import spec_to_plain, stamp
from robot_rl.wire.rpc import RpcServer
from tests.serve.doubles import SeeingPolicy, noise, observation, wait_ready

ROOT = Path(__file__).parents[2]


@contextmanager
def served(policy: SeeingPolicy, clock: SteppedClock | None = None) -> Iterator[PolicyServer]:
    server, stopping = PolicyServer(policy, "tcp://127.0.0.1:*", clock=clock), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    wait_ready(server, policy)
    try:
        yield server
    finally:
        stopping.set()
        thread.join(5)
        server.close()


@contextmanager
def connected(endpoint: str, timeout_s: float = 5.0) -> Iterator[RemotePolicy]:
    remote = RemotePolicy(endpoint, timeout_s)
    try:
        yield remote
    finally:
        remote.close()


class TestRemotePolicy(FrozenPolicyConformance):
    @pytest.fixture(params=[True, False], ids=["from features", "by handle"])
    def policy(self, request: pytest.FixtureRequest) -> Iterator[RemotePolicy]:
        with served(SeeingPolicy(from_features=request.param)) as server, connected(server.endpoint) as remote:
            yield remote

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        return [observation(seq) for seq in range(3)]


def test_it_answers_as_the_policy_itself() -> None:
    policy = SeeingPolicy()
    seen = [observation(0), observation(1)]
    with served(SeeingPolicy()) as server, connected(server.endpoint) as remote:
        assert remote.spec.hash == policy.spec.hash
        here, there = policy.encode(seen), remote.encode(seen)
        np.testing.assert_array_equal(there.features, here.features)
        latent = np.ones((2, 2), np.float32)
        np.testing.assert_array_equal(remote.decode(there, noise(2)), policy.decode(here, noise(2)))
        np.testing.assert_array_equal(remote.decode(there, noise(2), latent), policy.decode(here, noise(2), latent))


def test_a_forgotten_context_is_encoded_again() -> None:
    policy, clock = SeeingPolicy(), SteppedClock()
    with served(policy, clock) as server, connected(server.endpoint) as remote:
        context = remote.encode([observation()])
        chunks = remote.decode(context, noise())
        clock.advance(60 * SECOND)
        np.testing.assert_array_equal(remote.decode(context, noise()), chunks)
        assert (policy.encoded, server.misses) == (2, 1)
        with pytest.raises(ContextMiss):
            remote.decode(Context(context.features, context.z, (b"never seen......",)), noise())


def test_a_bad_observation_is_refused_before_it_is_sent() -> None:
    policy = SeeingPolicy()
    with served(policy) as server, connected(server.endpoint) as remote:
        with pytest.raises(BadObservation, match="bin_pose"):
            remote.encode([Observation(0, {}, np.zeros(7), np.zeros(7), np.zeros(7), 0.0, np.zeros(6))])
        assert remote.encode([observation()]).features.shape == (1, 12)


@pytest.mark.parametrize("echo", [{}, {"noise_applied": False}, {"noise_applied": 1}])
def test_a_server_that_does_not_say_that_it_applied_the_noise_is_refused(echo: dict[str, object]) -> None:
    spec = SeeingPolicy(from_features=True).spec
    chunks: list[Array] = [np.zeros((1, 8, 4), np.float32)]
    server = RpcServer(
        "tcp://127.0.0.1:*",
        {
            "hello": lambda header, arrays: (spec_to_plain(spec, spec.hash), ()),
            "decode": lambda header, arrays: (stamp(spec.hash) | echo, chunks),
        },
    )
    stopping = threading.Event()
    thread = threading.Thread(target=lambda: [server.poll(20) for _ in iter(stopping.is_set, True)])
    thread.start()
    try:
        with connected(server.endpoint) as remote, pytest.raises(SpecMismatch, match="noise"):
            remote.decode(Context(np.zeros((1, 12), np.float32)), noise())
    finally:
        stopping.set()
        thread.join(5)
        server.close()


class ServerProcess:
    """`python -m robot_rl.serve` on a Unix socket, to be stopped, killed and started again."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def start(self, name: str = "seeing") -> None:
        command = [sys.executable, "-m", "robot_rl.serve", "tests.serve.doubles:make", "--endpoint", self.endpoint]
        environment = os.environ | {"POLICY_NAME": name, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith(f"serving {name} ")

    def stop(self) -> None:
        """Until every thread of it stands still, which on a busy machine takes its time."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def end(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(10)


@pytest.fixture
def process() -> Iterator[ServerProcess]:
    with TemporaryDirectory() as folder:
        server = ServerProcess(f"ipc://{folder}/policy")
        server.start()
        yield server
        if server.process.poll() is None:
            server.end()


def test_a_server_may_be_stopped_killed_and_replaced(process: ServerProcess) -> None:
    with connected(process.endpoint, timeout_s=5.0) as remote:
        context = remote.encode([observation()])
        chunks = remote.decode(context, noise())

        process.stop()
        remote.timeout_s = 0.3
        began = time.monotonic()
        with pytest.raises(DeadlineMissed, match="in time"):
            remote.decode(context, noise(seed=1))
        assert time.monotonic() - began < 1.0
        process.process.send_signal(signal.SIGCONT)
        remote.timeout_s = 5.0
        np.testing.assert_array_equal(remote.decode(context, noise()), chunks)  # not the late reply to seed 1

        process.end()
        remote.timeout_s = 0.3
        with pytest.raises(DeadlineMissed):
            remote.decode(context, noise())
        process.start()
        remote.timeout_s = 5.0
        np.testing.assert_array_equal(remote.decode(context, noise()), chunks)  # encodes again: the server is new

        process.end()
        process.start("another model")
        with pytest.raises(SpecMismatch, match=remote.spec.hash[:12]):
            remote.decode(context, noise())


def test_the_server_ends_well_when_asked_to(process: ServerProcess) -> None:
    assert process.end(signal.SIGTERM) == 0


def test_no_server_is_a_missed_deadline() -> None:
    with pytest.raises(DeadlineMissed, match="nobody listens"):
        RemotePolicy("tcp://127.0.0.1:9", connect_timeout_s=0.1)
