"""`python -m benchmarks.transport [--quick]`: the policy server's round trips, against openpi's own stack; batching.

**Round trips.** In go three 224x224x3 uint8 cameras and a robot's state, out come 50x32 actions and 2048 features,
float32. Ours is `RemotePolicy.infer` against `robot_rl.serve` (checks, deadlines, contexts that are kept, all as in a
run); theirs is `openpi_client.WebsocketClientPolicy` against a server loop as openpi's is (websockets, msgpack_numpy,
no compression). Both policies answer at once with made-up numbers. Client and server are two processes, over loopback
TCP, a request every 20 ms, in blocks that take turns, so that both see the same machine. CPU is that of client and
server together, all threads, per request. Ours sends noise along, which openpi's server has no place for. `pair` is the
same by two journeys, `encode` and then `decode`, which is what a method that looks at the features needs.

**Batching.** A model whose every call takes the same time, however many rows (20 ms), asked by one client and by eight,
each as fast as it is answered.

openpi-client pins numpy below 2, so this needs an environment of its own:

    python3 -m venv /tmp/openpi && /tmp/openpi/bin/pip install . openpi-client websockets typing_extensions
    /tmp/openpi/bin/python -m benchmarks.transport
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl.learn.memory import keep_memory
from robot_rl.policy.remote import RemotePolicy
from robot_rl.processes import stop_event
from robot_rl.serve.server import PolicyServer
from robot_rl.types import ActionSpace, Array, Context, Observation, PolicySpec

CAMERAS, SIDE, HORIZON, ACTION, FEATURES = ("base", "left_wrist", "right_wrist"), 224, 50, 32, 2048
PERIOD_S, BLOCK = 0.020, 50
MODEL_S, CLIENTS = 0.020, 8
SPEC = PolicySpec(
    policy_id="transport",
    observation={"q": (7,), "gripper_width": (), **{f"images.{name}": (SIDE, SIDE, 3) for name in CAMERAS}},
    action_space=ActionSpace(
        "any", tuple(f"a{i}" for i in range(ACTION)), ("1",) * ACTION, (-1,) * ACTION, (1,) * ACTION
    ),
    horizon=HORIZON,
    step_s=0.02,
    noise_shape=(HORIZON, ACTION),
    features=FEATURES,
    latent=None,
    deterministic=True,
    decodes_from_features=False,
)


class MadeUp:
    """Answers with numbers made beforehand; a call of `encode` takes `seconds`, however many rows."""

    spec = SPEC

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._features = np.random.default_rng(0).standard_normal((64, FEATURES)).astype(np.float32)

    def encode(self, observations: Sequence[Observation]) -> Context:
        if self._seconds:
            time.sleep(self._seconds)
        return Context(self._features[: len(observations)])

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return noise * np.float32(0.5)


def observation(seq: int) -> Observation:
    """One that was never sent before."""
    rng = np.random.default_rng(seq)
    images = {name: rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8) for name in CAMERAS}
    stamps = dict.fromkeys(("robot", *CAMERAS), seq)
    return Observation(seq, stamps, rng.normal(size=7), np.zeros(7), np.zeros(7), 0.04, np.zeros(6), images)


# --- servers, each in a process of its own ----------------------------------------------------------------------------


def serve_ours(seconds: float) -> None:
    """Until it is told to end."""
    stopping = stop_event()
    keep_memory()  # as `python -m robot_rl.serve` does
    server = PolicyServer(MadeUp(seconds), "tcp://127.0.0.1:*")
    server.run(stopping, lambda: print(server.endpoint, flush=True))
    server.close()


def serve_openpi() -> None:
    """The loop of openpi's server: metadata first, then observations in, dictionaries of arrays and timings out."""
    import websockets.asyncio.server as websockets
    from openpi_client import msgpack_numpy
    from websockets.exceptions import ConnectionClosed

    features = np.random.default_rng(0).standard_normal(FEATURES).astype(np.float32)
    actions = np.random.default_rng(1).standard_normal((HORIZON, ACTION)).astype(np.float32)

    async def handle(connection: Any) -> None:
        packer = msgpack_numpy.Packer()
        await connection.send(packer.pack({"policy": "transport"}))
        with suppress(ConnectionClosed):
            while True:
                began = time.monotonic()
                msgpack_numpy.unpackb(await connection.recv())
                answer = {"actions": actions * np.float32(0.5), "features": features}
                answer["server_timing"] = {"infer_ms": 1e3 * (time.monotonic() - began)}
                await connection.send(packer.pack(answer))

    async def serve() -> None:
        async with websockets.serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def process(*arguments: str) -> Iterator[tuple[int, str]]:
    """(process id, address) of a server."""
    command = [sys.executable, "-m", "benchmarks.transport", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert server.stdout is not None
    try:
        yield server.pid, server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()


# --- round trips ------------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process so far, s."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


class Stack:
    """One way to ask, and what it cost."""

    def __init__(self, pid: int, ask: Callable[[Observation], object]) -> None:
        self._pid, self._ask = pid, ask
        self.round_trips: list[float] = []
        self.cpu = 0.0

    def block(self, observations: Sequence[Observation]) -> None:
        """One request every 20 ms."""
        before = cpu_s(self._pid) + cpu_s(os.getpid())
        due = time.monotonic()
        for seen in observations:
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.perf_counter()
            self._ask(seen)
            self.round_trips.append(time.perf_counter() - began)
            due += PERIOD_S
        self.cpu += cpu_s(self._pid) + cpu_s(os.getpid()) - before

    def figures(self, name: str) -> dict[str, float]:
        trips = np.array(self.round_trips) * 1e3
        figures = {f"{name}_p50_ms": float(np.median(trips)), f"{name}_p99_ms": float(np.percentile(trips, 99))}
        return figures | {f"{name}_cpu_ms": 1e3 * self.cpu / len(trips)}


def round_trips(blocks: int) -> dict[str, float]:
    """Median over the blocks of the ratio of their medians, and the ratio of CPU times."""
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    pool = [observation(seq) for seq in range(BLOCK)]
    noise = np.random.default_rng(2).standard_normal((1, HORIZON, ACTION)).astype(np.float32)
    with process("--serve", "ours") as (pid, endpoint), process("--serve", "openpi") as (their_pid, port):
        remote, theirs = RemotePolicy(endpoint), WebsocketClientPolicy("127.0.0.1", int(port))

        def ask_theirs(seen: Observation) -> object:
            state = np.append(seen.q, seen.gripper_width)
            return theirs.infer({"observation/state": state, **{f"observation/{k}": v for k, v in seen.images.items()}})

        stacks = {
            "ours": Stack(pid, lambda seen: remote.infer([seen], noise)),
            "openpi": Stack(their_pid, ask_theirs),
            "pair": Stack(pid, lambda seen: remote.decode(remote.encode([seen]), noise)),
        }
        for stack in stacks.values():  # connections and caches are warm before anything counts
            stack.block(pool[:10])
            stack.round_trips.clear()
            stack.cpu = 0.0
        for block in range(blocks):
            order = list(stacks.values())
            for stack in order if block % 2 else reversed(order):
                stack.block(pool)
        remote.close()
    figures: dict[str, float] = {}
    for name, stack in stacks.items():
        figures |= stack.figures(name)
    for name in ("ours", "pair"):
        prefix = "" if name == "ours" else "pair_"
        figures[f"{prefix}p50_ratio_to_openpi"] = _ratio(stacks["openpi"], stacks[name])
        figures[f"{prefix}cpu_ratio_to_openpi"] = stacks["openpi"].cpu / stacks[name].cpu
    return figures


def _ratio(theirs: Stack, ours: Stack) -> float:
    each = [
        [statistics.median(s.round_trips[i : i + BLOCK]) for i in range(0, len(s.round_trips), BLOCK)]
        for s in (theirs, ours)
    ]
    return statistics.median(a / b for a, b in zip(*each, strict=True))


# --- batching ---------------------------------------------------------------------------------------------------------


def batching(seconds: float) -> dict[str, float]:
    """Throughput and latency of one client, then of eight at once, each asking again when it is answered."""
    noise = np.zeros((1, HORIZON, ACTION), np.float32)

    def client(endpoint: str, seed: int, until: float, trips: list[float]) -> None:
        remote, seen = RemotePolicy(endpoint, timeout_s=10.0), observation(seed)
        while time.monotonic() < until:
            began = time.perf_counter()
            remote.infer([seen], noise)
            trips.append(time.perf_counter() - began)
        remote.close()

    def together(endpoint: str, clients: int) -> Array:
        trips: list[list[float]] = [[] for _ in range(clients)]
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=client, args=(endpoint, i, until, trips[i])) for i in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return np.concatenate([np.array(each[2:]) for each in trips])  # the first meet nobody yet

    with process("--serve", "ours", "--seconds", str(MODEL_S)) as (_, endpoint):
        one, all_of_them = together(endpoint, 1), together(endpoint, CLIENTS)
    return {
        "batching_throughput_ratio": len(all_of_them) / len(one),
        "batching_p99_calls": float(np.percentile(all_of_them, 99)) / MODEL_S,
        "batching_alone_p50_calls": float(np.median(one)) / MODEL_S,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transport", description=__doc__)
    parser.add_argument("--blocks", type=int, default=12, help="of 50 requests, for each stack (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two blocks and 2 s of batching: shows that it runs")
    parser.add_argument("--serve", choices=("ours", "openpi"), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve_ours(options.seconds) if options.serve == "ours" else serve_openpi()
        return 0
    try:
        figures = round_trips(2 if options.quick else options.blocks)
    except ImportError as error:
        raise ConfigError(f"{error}: openpi's side is missing; see `python -m benchmarks.transport --help`") from error
    figures |= batching(2.0 if options.quick else 8.0) | {"load": os.getloadavg()[0]}
    for name, value in figures.items():
        print(f"{name:32} {value:8.2f}")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
