"""What several clients ask at about the same time is one call; what is late or given up is none."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from robot_rl.errors import BadAction, BadObservation, DeadlineMissed, WireError
from robot_rl.policy.remote import RemotePolicy
from robot_rl.serve.batching import Batcher, Batching, Job
from robot_rl.serve.requests import Asked
from robot_rl.serve.server import PolicyServer
from robot_rl.types import Array, Context, Observation
from robot_rl.wire.handshake import stamp
from robot_rl.wire.observations import values_to_plain
from robot_rl.wire.rpc import Later, RpcClient
from tests.serve.doubles import SeeingPolicy, noise, observation, wait_ready


class GatedPolicy(SeeingPolicy):
    """Notes the rows of its calls and the thread they are made from; waits while `gate` is shut, fails on `poison`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.calls: list[tuple[str, int]] = []
        self.threads: set[int] = set()
        self.poison: float | None = None

    def encode(self, observations: Sequence[Observation]) -> Context:
        self._note("encode", len(observations))
        if any(seen.extra["bin_pose"][0] == self.poison for seen in observations):
            raise BadObservation("poisoned")
        return super().encode(observations)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        self._note("decode", len(noise))
        return super().decode(context, noise, latent)

    def _note(self, name: str, rows: int) -> None:
        self.calls.append((name, rows))
        self.threads.add(threading.get_ident())
        self.entered.release()
        assert self.gate.wait(10)


@contextmanager
def serving(policy: GatedPolicy, **batching: float) -> Iterator[PolicyServer]:
    options = Batching(**{"wait_s": 0.05, "rows": 64, **batching})  # type: ignore[arg-type]
    server, stopping = PolicyServer(policy, "tcp://127.0.0.1:*", batching=options), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    wait_ready(server, policy)
    policy.calls.clear()
    policy.entered = threading.Semaphore(0)
    try:
        yield server
    finally:
        policy.gate.set()
        stopping.set()
        thread.join(10)
        server.close()


@contextmanager
def clients(server: PolicyServer, count: int, timeout_s: float = 5.0) -> Iterator[list[RemotePolicy]]:
    remotes = [RemotePolicy(server.endpoint, timeout_s) for _ in range(count)]
    try:
        yield remotes
    finally:
        for remote in remotes:
            remote.close()


def test_clients_that_ask_together_share_a_call_and_each_gets_its_own_answer() -> None:
    policy, alone = GatedPolicy(), SeeingPolicy()
    with serving(policy) as server, clients(server, 5) as remotes:
        shut(policy, remotes[0])
        asked = [remote.begin_encode([observation(i), observation(10 + i)]) for i, remote in enumerate(remotes[1:])]
        wait_for(lambda: server.waiting == 4)
        policy.gate.set()
        for i, call in enumerate(asked):
            expected = alone.encode([observation(i), observation(10 + i)])
            np.testing.assert_allclose(call.wait().features, expected.features, rtol=1e-6)
        assert policy.calls == [("encode", 1), ("encode", 8)]
        assert len(policy.threads) == 1


def test_encodes_and_decodes_with_and_without_latent_and_samples_go_together() -> None:
    policy, alone = GatedPolicy(), SeeingPolicy()
    latent, samples = np.ones((1, 2), np.float32), noise(3, seed=9)[None]
    with serving(policy) as server, clients(server, 5) as remotes:
        contexts = [remote.encode([observation(i)]) for i, remote in enumerate(remotes)]
        policy.calls.clear()
        shut(policy, remotes[0])
        plain = remotes[1].begin_decode(contexts[1], noise(seed=1))
        with_latent = remotes[2].begin_decode(contexts[2], noise(seed=2), latent)
        sampled: list[tuple[Array, Array]] = []
        thread = threading.Thread(
            target=lambda: sampled.append(remotes[3].decode_with_samples(contexts[3], noise(seed=3), samples))
        )
        thread.start()
        encoded = remotes[4].begin_encode([observation(7)])
        wait_for(lambda: server.waiting == 4)
        policy.gate.set()
        thread.join(5)
        np.testing.assert_allclose(plain.wait(), alone.decode(alone.encode([observation(1)]), noise(seed=1)))
        of_latent = alone.decode(alone.encode([observation(2)]), noise(seed=2), latent)
        np.testing.assert_allclose(with_latent.wait(), of_latent)
        assert encoded.wait().features.shape == (1, 12)
        assert sorted(policy.calls) == [("decode", 1), ("decode", 5), ("encode", 1), ("encode", 1)]
    chunks, further = sampled[0]
    three = alone.encode([observation(3)])
    np.testing.assert_allclose(chunks, alone.decode(three, noise(seed=3)))
    np.testing.assert_allclose(further[0], alone.decode(three.repeated(3), samples[0]))


def test_infer_encodes_and_decodes_in_one_journey() -> None:
    policy, alone = GatedPolicy(), SeeingPolicy()
    seen, samples = [observation(0), observation(1)], noise(6, seed=4).reshape(2, 3, 8, 4)
    with serving(policy) as server, clients(server, 1) as (remote,):
        found = remote.infer(seen, noise(2), samples)
        assert policy.calls == [("encode", 2), ("decode", 8)]
        again = remote.decode(found.context, noise(2))
    context = alone.encode(seen)
    np.testing.assert_allclose(found.context.features, context.features)
    np.testing.assert_allclose(found.chunks, alone.decode(context, noise(2)))
    np.testing.assert_allclose(again, found.chunks)
    assert found.samples is not None
    np.testing.assert_allclose(
        found.samples.reshape(6, 8, 4), alone.decode(context.repeated(3), samples.reshape(6, 8, 4))
    )


def test_a_lone_client_does_not_wait_for_company() -> None:
    policy = GatedPolicy()
    with serving(policy, wait_s=5.0) as server, clients(server, 1) as (remote,):
        began = time.monotonic()
        remote.encode([observation()])
        assert time.monotonic() - began < 2.0


def test_who_missed_a_call_waits_for_those_that_it_answered() -> None:
    """Else the one that missed it is alone in the next call, they in the one after it, and so on for ever."""
    batcher, call_s = Batcher(lambda later, reply: None, Batching(wait_s=0.01, wait_share=0.25)), 0.1
    for peer in (b"a", b"b"):
        batcher.put(job(peer))
    assert [each.peer for each in batcher.take()] == [b"a", b"b"]
    batcher.put(job(b"c", ago_s=call_s))  # during the call
    batcher.ended()
    assert 0.015 < (batcher.due_s(call_s) or 0.0) <= 0.025
    batcher.put(job(b"a"))
    assert batcher.due_s(call_s) != 0.0, "b is missing"
    batcher.put(job(b"b"))
    assert batcher.due_s(call_s) == 0.0
    assert len(batcher.take()) == 3


def test_company_that_keeps_coming_is_not_waited_for_without_end() -> None:
    batcher = Batcher(lambda later, reply: None, Batching(wait_s=0.1))
    batcher.put(job(b"gone"))
    batcher.take()
    batcher.put(job(b"first", ago_s=0.25))
    batcher.put(job(b"newest"))
    assert batcher.due_s(0.0) == 0.0


def test_who_asks_once_in_a_while_is_not_waited_for() -> None:
    """A robot asks once a chunk; one that asks again as soon as it is answered asks with the next call."""
    batcher, call_s = Batcher(lambda later, reply: None, Batching(wait_s=0.1)), 0.1
    for peer, ago_s in ((b"robot", 0.45), (b"eager", 0.35)):
        batcher.put(job(peer, ago_s))
    batcher.take()
    batcher.ended()
    batcher.put(job(b"eager"))
    assert batcher.due_s(call_s) == 0.0
    batcher.put(job(b"other"))
    batcher.take()
    batcher.put(job(b"eager"))
    assert (batcher.due_s(call_s) or 0.0) > 0.05, "the other may come any moment"


def job(peer: bytes, ago_s: float = 0.0) -> Job:
    return Job(peer, 1, Asked(1.0, observations=[observation()]), Later(), time.monotonic() - ago_s)


def test_a_call_has_no_more_rows_than_it_may() -> None:
    policy = GatedPolicy()
    with serving(policy, rows=4) as server, clients(server, 5) as remotes:
        shut(policy, remotes[0])
        asked = [remote.begin_encode([observation(i), observation(9)]) for i, remote in enumerate(remotes[1:])]
        wait_for(lambda: server.waiting == 4)
        policy.gate.set()
        for call in asked:
            call.wait()
        assert policy.calls == [("encode", 1), ("encode", 4), ("encode", 4)]


def test_an_error_reaches_whom_it_belongs_to_and_nobody_else() -> None:
    policy = GatedPolicy()
    with serving(policy) as server, clients(server, 4) as remotes:
        policy.poison = float(observation(2).extra["bin_pose"][0])
        shut(policy, remotes[0])
        asked = [remote.begin_encode([observation(i + 1)]) for i, remote in enumerate(remotes[1:])]
        wait_for(lambda: server.waiting == 3)
        policy.gate.set()
        assert asked[0].wait().features.shape == asked[2].wait().features.shape == (1, 12)
        with pytest.raises(BadObservation, match="poisoned"):
            asked[1].wait()
        assert remotes[0].status()["failed"] == 2, "the call of three, and then the one"


def test_a_request_that_is_late_already_is_refused_and_not_computed() -> None:
    policy = GatedPolicy()
    with serving(policy) as server, clients(server, 1) as (remote,):
        raw = RpcClient(server.endpoint)
        arrays: list[Array] = []
        header = stamp(policy.spec.hash) | {"observations": values_to_plain([observation(1)], policy.spec, arrays)}
        shut(policy, remote)
        with pytest.raises(DeadlineMissed):
            raw.call("encode", header, arrays, timeout_s=0.05)
        wait_for(lambda: server.waiting == 1)
        policy.gate.set()
        wait_for(lambda: remote_counts(server)["late"] == 1)
        assert policy.calls == [("encode", 1)]
        raw.close()


def test_what_the_client_gave_up_is_not_computed() -> None:
    policy = GatedPolicy()
    with serving(policy) as server, clients(server, 2) as (busy, remote):
        shut(policy, busy)
        first = remote.begin_encode([observation(1)])
        wait_for(lambda: server.waiting == 1)
        second = remote.begin_encode([observation(2)])  # one is open at a time
        assert first.ready()
        with pytest.raises(DeadlineMissed, match="given up"):
            first.result()
        wait_for(lambda: remote_counts(server)["cancelled"] == 1)
        policy.gate.set()
        assert second.wait().features.shape == (1, 12)
        assert policy.calls == [("encode", 1), ("encode", 1)]


def test_a_queue_that_is_full_refuses_and_one_client_cannot_fill_it() -> None:
    policy = GatedPolicy()
    with serving(policy, queue=3, per_client=2) as server, clients(server, 5) as remotes:
        shut(policy, remotes[0])
        waiting = [remote.begin_encode([observation(i)]) for i, remote in enumerate(remotes[1:4])]
        wait_for(lambda: server.waiting == 3)
        with pytest.raises(DeadlineMissed, match="too much to do"):
            remotes[4].encode([observation()])
        policy.gate.set()
        for call in waiting:
            call.wait()
        assert remotes[4].encode([observation()]).features.shape == (1, 12)


def test_shutting_down_answers_what_runs_and_refuses_what_waits() -> None:
    policy = GatedPolicy()
    server, stopping = PolicyServer(policy, "tcp://127.0.0.1:*"), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    wait_ready(server, policy)
    policy.entered = threading.Semaphore(0)
    with clients(server, 2) as (running, waiting):
        policy.gate.clear()
        under_way = running.begin_encode([observation(1)])
        assert policy.entered.acquire(timeout=5)
        refused = waiting.begin_encode([observation(2)])
        wait_for(lambda: server.waiting == 1)
        stopping.set()
        time.sleep(0.15)
        policy.gate.set()
        thread.join(10)
        assert not thread.is_alive()
        assert under_way.wait().features.shape == (1, 12)
        with pytest.raises(DeadlineMissed, match="shutting down"):
            refused.wait()
    server.close()


def test_it_is_warm_before_it_says_ready_and_answers_hello_meanwhile() -> None:
    policy = GatedPolicy()
    policy.gate.clear()
    server, stopping, ready = PolicyServer(policy, "tcp://127.0.0.1:*"), threading.Event(), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping, ready.set))
    thread.start()
    with clients(server, 1) as (remote,):
        assert policy.entered.acquire(timeout=5)
        assert (remote.status()["ready"], ready.is_set()) == (False, False)
        call = remote.begin_encode([observation()])
        assert not call.ready(0.05)
        policy.gate.set()
        assert ready.wait(5)
        assert call.wait().features.shape == (1, 12)
        assert remote.status()["ready"] is True
    stopping.set()
    thread.join(5)
    server.close()


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (np.zeros((1, 2, 8, 3), np.float32), BadAction),
        (np.zeros((2, 2, 8, 4), np.float32), BadAction),
        (np.zeros((1, 2000, 8, 4), np.float32), WireError),
        (np.full((1, 2, 8, 4), np.inf, np.float32), BadAction),
    ],
)
def test_bad_samples_are_refused(samples: Array, error: type[Exception]) -> None:
    policy = GatedPolicy()
    with serving(policy) as server, clients(server, 1) as (remote,):
        context = remote.encode([observation()])
        with pytest.raises(error):
            remote.decode_with_samples(context, noise(), samples)
        assert remote.decode(context, noise()).shape == (1, 8, 4)


def test_a_policy_that_cannot_be_warmed_up_ends_the_server_with_the_reason() -> None:
    command = [
        sys.executable,
        "-m",
        "robot_rl.serve",
        "tests.serve.doubles:make_broken",
        "--endpoint",
        "tcp://127.0.0.1:*",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "fails on an observation of its own spec" in done.stderr
    assert "serving" not in done.stdout


def shut(policy: GatedPolicy, remote: RemotePolicy) -> None:
    """The model is busy with a request of `remote`, until the gate opens."""
    policy.entered = threading.Semaphore(0)
    policy.gate.clear()
    remote.begin_encode([observation(99)])
    assert policy.entered.acquire(timeout=5)


def remote_counts(server: PolicyServer) -> dict[str, int]:
    client = RpcClient(server.endpoint)
    try:
        return client.call("status")[0]
    finally:
        client.close()


def wait_for(ask: Callable[[], bool], timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not ask():
        assert time.monotonic() < end
        time.sleep(0.002)
