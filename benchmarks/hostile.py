"""`python -m benchmarks.hostile [--messages 100000]`: hostile messages at a policy server; does it serve on, and grow?

Damaged, cut and made-up messages of every kind that `HOSTILE` and `mutations` know go to a server in a process of its
own, from one seed. Between them a good client asks. At the end the server still serves, has dropped or refused every
hostile message, and its memory is what it was: the least of the last three tenths against the least of the first three,
since a burst that waits to be read comes and goes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from robot_rl.policy.remote import RemotePolicy
from robot_rl.processes import stop_event
from robot_rl.serve.server import PolicyServer
from robot_rl.types import ActionSpace, Array, Context, Observation, PolicySpec
from robot_rl.wire.codec import HEAD, pack
from robot_rl.wire.handshake import stamp
from robot_rl.wire.observations import example_observation, values_to_plain
from robot_rl.wire.values import pack_value

SPEC = PolicySpec(
    policy_id="hostile",
    observation={"tcp_pose": (7,), "images.front": (16, 16, 3)},
    action_space=ActionSpace("any", ("a", "b"), ("1", "1"), (-1.0, -1.0), (1.0, 1.0)),
    horizon=4,
    step_s=0.05,
    noise_shape=(4, 2),
    features=7,
    latent=None,
    deterministic=True,
    decodes_from_features=False,
)

KEEP_S = 1.0
"""A context is kept for so long: what the server remembers on purpose is no growth (in 30 s it is some 4 MB here)."""
GROWTH_KB = 4096
"""What allocators make of such traffic is about half of this, for 3,000 messages and for 100,000 alike."""


class Small:
    """A policy that costs nothing."""

    spec = SPEC

    def encode(self, observations: Sequence[Observation]) -> Context:
        return Context(np.stack([seen.tcp_pose for seen in observations]).astype(np.float32))

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return np.tanh(noise)


def formed(form: bytes, body: bytes = b"") -> bytes:
    """A message of a form that may be anything."""
    head = HEAD.pack(len(form), 0, 1, 0.5) + form
    return head + bytes(-len(head) % 8) + body


def described(*arrays: Any, body: bytes = b"") -> bytes:
    """A message of arrays that may be anything."""
    return formed(pack_value([{}, list(arrays)]), body)


HOSTILE: list[list[bytes]] = [
    [b""],
    [b"\xc1"],
    [b"\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."],  # a pickle
    [formed(b"\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.")],
    [HEAD.pack(2**32 - 1, 0, 1, 0.5) + bytes(40)],
    [HEAD.pack(0, 0, 1, 0.5)],
    [formed(b"\x92\xdf\xff\xff\xff\xff\x90")],
    [formed(b"\xdd\xff\xff\xff\xff")],
    [formed(b"\x92\x81\xa1a\xc6\xff\xff\xff\xff\x90")],
    [formed(b"\x91" * 4000 + b"\x90")],
    [formed(b"\x92" + b"\x81\xa1a" * 2000 + b"\xc0\x90")],
    [formed(b"\x92\x81\xa1a\xd6\xff\x00\x00\x00\x00\x90")],
    [described(["object", [1]], body=b"12345678")],
    [described(["uint8", [2**40]], body=b"1")],
    [described(["uint8", [0, 2**26, 2**26]])],
    [described(["float32", [4]], body=b"123")],
    [described(["uint8", [3]])],
    [described(), *[b"x"] * 200],
    [bytes(pack(1, {"call": "x" * 60_000, "args": {}}))],
    [bytes(pack(-(2**63), {"call": "status", "args": []}))],
    [bytes(pack(1, {"call": ["status"], "args": {}}))],
]


def good() -> list[bytes]:
    """Well-formed requests of every call, the raw material of mutations."""
    seen: list[Array] = []
    plain = values_to_plain([example_observation(SPEC)], SPEC, seen)
    head = stamp(SPEC.hash)
    noise = np.zeros((1, 4, 2), np.float32)
    requests: list[tuple[str, dict[str, Any], list[Array]]] = [
        ("hello", head, []),
        ("status", {}, []),
        ("cancel", {"request": 5}, []),
        ("encode", head | {"observations": plain}, seen),
        ("decode", head | {"handles": 1, "noise": 0}, [noise, np.zeros((1, 16), np.uint8)]),
        ("decode", head | {"noise": 0, "context": {"features": 1}}, [noise, noise]),
        ("decode", head | {"handles": 1, "noise": 0, "samples": 0}, [noise, np.zeros((900, 16), np.uint8)]),
        ("encode", head | {"observations": plain, "noise": 1}, seen),
        ("encode", head | {"observations": [plain[0]] * 200, "noise": 0}, seen),
    ]
    encode = {"call": "encode", "args": head | {"observations": plain}}
    return [
        *(bytes(pack(1, {"call": name, "args": args}, arrays, 0.5)) for name, args, arrays in requests),
        *(bytes(pack(2, encode, seen, left_s)) for left_s in (math.nan, math.inf, -math.inf)),
    ]


def mutations(rng: np.random.Generator) -> Iterator[list[bytes]]:
    """Hostile messages without end."""
    fine = good()
    while True:
        kind = rng.integers(6)
        if kind == 0:
            yield HOSTILE[rng.integers(len(HOSTILE))]
            continue
        if kind == 1:
            yield [rng.bytes(rng.integers(200)) for _ in range(rng.integers(1, 5))]
            continue
        frame = bytearray(fine[rng.integers(len(fine))])
        if kind == 2:  # bytes flipped
            for _ in range(rng.integers(1, 4)):
                frame[rng.integers(len(frame))] = rng.integers(256)
        elif kind == 3:  # cut
            del frame[rng.integers(len(frame)) :]
        elif kind == 4:  # a part gone, or twice
            begin, end = sorted(rng.integers(len(frame) + 1, size=2))
            frame[begin:end] = bytes(frame[begin:end]) * rng.integers(0, 3)
        else:  # something put in
            at = rng.integers(len(frame) + 1)
            frame[at:at] = rng.bytes(rng.integers(1, 9))
        yield [bytes(frame)]


def memory_kb(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def bombard(endpoint: str, pid: int, messages: int, seed: int = 0) -> dict[str, Any]:
    """Send `messages` hostile ones; figures at the end. Raises what the good client sees when the server fails it."""
    context, rng = zmq.Context(), np.random.default_rng(seed)
    remote, stream = RemotePolicy(endpoint, timeout_s=10.0), mutations(np.random.default_rng(seed))
    before = remote.status()
    socket = _dealer(context, endpoint)
    asked, memory, began = 0, list[int](), time.monotonic()
    for sent in range(1, messages + 1):
        socket.send_multipart(next(stream))
        if sent % 100 == 0:  # the good client's turn, which also lets the server catch up
            expected = np.tanh(noise := rng.standard_normal((1, 4, 2)).astype(np.float32))
            found = remote.infer([example_observation(SPEC)], noise)
            np.testing.assert_allclose(found.chunks, expected, rtol=1e-6)
            asked += 1
            while socket.poll(0):
                socket.recv_multipart()
        if sent % 5000 == 0:  # a client that leaves without a word
            socket.close(linger=0)
            socket = _dealer(context, endpoint)
        if sent % max(messages // 10, 1) == 0:
            _settled(remote)
            memory.append(memory_kb(pid))
    status = _settled(remote)
    remote.close()
    socket.close(linger=0)
    context.destroy(linger=0)
    figures = {name: status[name] - before[name] for name in ("dropped", "served", "failed")}
    grown = min(memory[-3:]) - min(memory[:3])
    seconds = time.monotonic() - began
    return {
        "messages": messages,
        "good_requests": asked,
        **figures,
        "memory_kb": memory,
        "grown_kb": grown,
        "seconds": seconds,
    }


def _settled(remote: RemotePolicy) -> dict[str, Any]:
    """The server's counters once it has read everything."""
    status, last = remote.status(), -1
    while status["dropped"] != last:
        last = status["dropped"]
        time.sleep(0.1)
        status = remote.status()
    return status


def _dealer(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    return socket


def serve() -> None:
    """Until told to end."""
    stopping = stop_event()
    server = PolicyServer(Small(), "tcp://127.0.0.1:*", keep_s=KEEP_S)
    server.run(stopping, lambda: print(server.endpoint, flush=True))
    server.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Bombard; the last line is JSON. 1 if the server's memory has grown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="hostile messages (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve()
        return 0
    figures = run(options.messages, options.seed)
    print(json.dumps(figures))
    return int(figures["grown_kb"] > GROWTH_KB)


def run(messages: int, seed: int = 0) -> dict[str, Any]:
    """A server, the bombardment, and how the server ended."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--serve"]
    log = subprocess.DEVNULL  # what a policy or a handler raised is logged; hostile floods would fill a pipe
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    assert server.stdout is not None
    try:
        figures = bombard(server.stdout.readline().strip(), server.pid, messages, seed)
    finally:
        server.terminate()
        status = server.wait(10)
        server.stdout.close()
    return figures | {"exit_status": status}


if __name__ == "__main__":
    sys.exit(main())
