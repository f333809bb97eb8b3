"""A policy server that hangs, dies, comes back, or comes back as another, while twin episodes run at real-time pace."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from robot_rl.store.episode import read_messages
from robot_rl.store.run import RunDirectory
from robot_rl.wire.rpc import RpcClient
from tests.faults.policies import Server
from tests.realtime_run import labels, short_run, started, wait_for

CHUNK_S = 0.4
"""A chunk of the lid task: 8 steps at 20 Hz."""


@pytest.fixture
def sockets() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


def held(actor: RpcClient, words: str) -> bool:
    """Whether the actor says that it holds, and why."""
    why = str(actor.call("snapshot", timeout_s=5.0)[0]["why"])
    return "holding, the policy" in why and words in why


def in_the_middle(actor: RpcClient) -> bool:
    """An episode runs that will not end by itself within the next second."""
    shown = actor.call("snapshot", timeout_s=5.0)[0]
    return shown["state"] == "RUNNING" and 2 <= shown["step"] < 25


def moves(actor: RpcClient) -> bool:
    """Whether the robot carries out commands of chunks again."""
    before = passed(actor)
    time.sleep(0.2)
    return passed(actor) > before + 1


def passed(actor: RpcClient) -> int:
    verdicts = actor.call("snapshot", timeout_s=5.0)[0]["verdicts"]
    return int(verdicts["pass"] + verdicts["clipped"])


@pytest.mark.timeout(120)
def test_the_robot_holds_within_one_chunk_and_recovers_by_itself(tmp_path: Path, sockets: Path) -> None:
    run = short_run(tmp_path, max_steps=120)
    server = Server(f"ipc://{sockets}/policy", run.policy)
    server.start()
    try:
        with started(run, 1000, "--page", "--policy", server.endpoint) as realtime:
            guard, actor = realtime.connect()
            wait_for(lambda: moves(actor), "motion")
            pids = realtime.pids()
            for fault, words in FAULTS.items():
                fault_and_recovery(server, actor, fault, words)
            assert realtime.pids() == pids, "nothing else was started again"
            closed = len(labels(run))
            wait_for(lambda: len(labels(run)) > closed, "the end of the last episode")
            guard.close()
            actor.close()
    finally:
        server.end()
    check_recording(run)


FAULTS = {
    "stopped": "no answer from",
    "killed": "nobody listens",
    "version": "robot_rl",
    "model": "was replaced",
}
"""What happens to the server -> what the page says about it."""


def fault_and_recovery(server: Server, actor: RpcClient, fault: str, words: str) -> None:
    wait_for(lambda: in_the_middle(actor), "an episode under way")
    began = time.monotonic()
    if fault == "stopped":
        server.send(signal.SIGSTOP)
    else:
        server.end()
    wait_for(lambda: held(actor, ""), "the first period of holding", 5.0)
    assert time.monotonic() - began < CHUNK_S + 0.5
    if fault in ("version", "model"):
        server.start(fault)
    wait_for(lambda: held(actor, words), f"{words!r} on the page", 10.0)
    before = passed(actor)
    time.sleep(0.4)
    assert passed(actor) == before, "nothing is executed while the policy is away"
    if fault == "stopped":
        server.send(signal.SIGCONT)
    else:
        if fault != "killed":
            server.end()
        server.start()
    wait_for(lambda: moves(actor), f"motion after {fault}", 10.0)


def check_recording(run: RunDirectory) -> None:
    """Every hold has its reason, and no chunk goes on after one that the policy caused: what follows is a new one."""
    reasons = set[str]()
    for manifest in run.episodes.glob("[0-9]*/manifest.json"):
        folder, begun, held_ns = manifest.parent, set[int](), -1
        held = read_messages(folder, "/held")
        reasons |= {message.body["why"] for message in held}
        skipped = {message.body["chunk"]: message.body["skipped"] for message in read_messages(folder, "/spliced")}
        for step in read_messages(folder, "/steps"):
            chunk, sent = step.body["chunk"], step.body["verdict"] in ("pass", "clipped")
            before = [message.stamp_ns for message in held if message.stamp_ns < step.stamp_ns]
            if sent and before and before[-1] != held_ns:
                held_ns = before[-1]
                assert (step.body["row"], chunk in begun) == (skipped.get(chunk, 0), False)
            begun.add(chunk)
    for words in FAULTS.values():
        assert any(words in reason for reason in reasons), words
