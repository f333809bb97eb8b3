"""A policy behind a server of its own, as a client sees it; for fixtures that conformance suites inherit."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from robot_rl.policy.remote import RemotePolicy
from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.server import PolicyServer


def served(policy: FrozenPolicy) -> Iterator[RemotePolicy]:
    server, stopping = PolicyServer(policy, "tcp://127.0.0.1:*"), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    remote = RemotePolicy(server.endpoint, timeout_s=10.0)
    try:
        yield remote
    finally:
        remote.close()
        stopping.set()
        thread.join(5)
        server.close()
