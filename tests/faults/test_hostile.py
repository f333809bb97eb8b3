"""Hostile messages at a policy server; 100,000 of them by `python -m benchmarks.hostile`."""

from __future__ import annotations

from benchmarks.hostile import GROWTH_KB, run


def test_a_server_under_hostile_messages_serves_on_and_does_not_grow() -> None:
    found = run(2000, seed=2)
    assert found["good_requests"] == 20, "each was answered, and rightly"
    assert found["dropped"] + found["served"] >= 2000
    assert found["dropped"] > 1500
    assert found["failed"] == 0
    assert found["grown_kb"] < GROWTH_KB
    assert found["exit_status"] == 0
