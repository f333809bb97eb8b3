"""What a person learns before any run."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console

from robot_rl.compositions.preflight import preflight
from robot_rl.serve.server import PolicyServer
from robot_rl.types import Array, Context
from tests.serve.doubles import SeeingPolicy, wait_ready


def check(endpoint: str | None = None, trials: int = 0) -> tuple[bool, dict[str, Any], dict[str, dict[str, str]]]:
    """(passed, figures, rows by name) of the lid task."""
    out = io.StringIO()
    passed = preflight("lid_opening", endpoint, None, Console(file=out, width=200), trials=trials)
    figures = json.loads(out.getvalue().splitlines()[-1])
    return passed, figures, {row["check"]: row for row in figures["rows"]}


@contextmanager
def served(policy: SeeingPolicy) -> Iterator[str]:
    server, stopping = PolicyServer(policy, "tcp://127.0.0.1:*"), threading.Event()
    thread = threading.Thread(target=server.run, args=(stopping,))
    thread.start()
    wait_ready(server, policy)
    try:
        yield server.endpoint
    finally:
        stopping.set()
        thread.join(5)
        server.close()


class DeafPolicy(SeeingPolicy):
    """Takes noise and ignores it."""

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        return super().decode(context, np.zeros_like(noise), latent)


def test_the_tasks_own_policy_fits_in_every_row() -> None:
    passed, figures, rows = check(trials=3)
    assert passed
    assert {row["verdict"] for row in rows.values()} <= {"ok", "look"}
    assert {"actions and units", "rate", "observation", "adapter usr", "round trip", "spread, repeat"} <= rows.keys()
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["spread_repeat"]["dy"] > figures["spread_full"]["dy"] > 0.001
    assert figures["success_full"] * 3 in (0, 1, 2, 3)
    assert {"base success, full", "base success, repeat", "base success, low_rank"} <= rows.keys()
    assert "/3)" in rows["base success, repeat"]["found"]


def test_a_server_with_another_model_and_pictures_of_another_size_is_told_row_by_row() -> None:
    with served(DeafPolicy()) as endpoint:
        passed, _, rows = check(endpoint)
    assert not passed
    assert rows["task's policy"]["verdict"] == rows["cameras"]["verdict"] == "no"
    assert "images.front: expected [4, 4, 3], got [240, 320, 3]" in rows["cameras"]["found"]
    assert "the policy ignores its noise" in rows["spread, full"]["found"]
    assert rows["rate"]["verdict"] == rows["round trip"]["verdict"] == "ok"


def test_a_server_that_is_not_there_is_a_row(monkeypatch: Any) -> None:
    monkeypatch.setattr("robot_rl.compositions.preflight.CONNECT_S", 0.1)
    passed, _, rows = check("tcp://127.0.0.1:9")
    assert not passed
    assert "nobody listens" in rows["policy"]["found"]
