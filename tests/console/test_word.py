from __future__ import annotations

from typing import Any

import pytest

from robot_rl.console.word import GuardFirst
from tests.console.scripted import ScriptedPort


def test_snapshots_that_overtake_each_other_do_not_unsay_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll and a script ask at once: the older answer may come last."""
    port = ScriptedPort()
    shown = GuardFirst(port)
    older = port.snapshot()
    port.become("RUNNING")
    newer = port.snapshot()
    assert older["revision"] < newer["revision"]
    shown.stop("page")
    for snapshot in (newer, older, newer):  # all from before the actor hears of the stop
        monkeypatch.setattr(port, "snapshot", lambda snapshot=snapshot: snapshot)
        assert shown.snapshot()["state"] == "STOPPED"


def test_an_actor_of_another_life_has_asked_its_guard_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ScriptedPort()
    shown = GuardFirst(port)
    before: dict[str, Any] = port.snapshot()
    shown.snapshot()
    shown.stop("page")
    monkeypatch.setattr(port, "snapshot", lambda: {**before, "lists": "another.1"})
    assert shown.snapshot()["state"] == "RUNNING"
