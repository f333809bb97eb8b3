"""How a node says that it is: nothing of ROS is needed to judge it."""

from __future__ import annotations

import pytest
from robot_rl_ros.health import (
    LOW_DISK,
    Level,
    Rate,
    actor_health,
    camera_health,
    learner_health,
    recorder_health,
    robot_health,
)

from robot_rl.clock import MS, SECOND
from robot_rl.types import Cause, SafetyLevel, SafetyState

LEARNS = {"updates": 40, "version": 3, "chunks": 20, "utd_wanted": 2.0, "utd_reached": 1.5, "updates_per_second": 99.0}


def safety(level: SafetyLevel) -> SafetyState:
    causes = () if level is SafetyLevel.OK else (Cause("1", "a kind", level, "in words", "operator", 0),)
    return SafetyState(level, 7, causes)


@pytest.mark.parametrize(
    ("level", "rate_hz", "expected", "message"),
    [
        (SafetyLevel.OK, 20.0, Level.OK, "moves"),
        (SafetyLevel.HOLD, 20.0, Level.OK, "holds: a kind: in words"),
        (SafetyLevel.OK, 17.0, Level.WARN, "17.0 Hz of 20"),
        (SafetyLevel.STOP, 20.0, Level.ERROR, "STOP: a kind: in words"),
        (SafetyLevel.FAULT, 0.0, Level.ERROR, "FAULT: a kind: in words"),
    ],
)
def test_a_robot_is_as_its_guard_says_and_as_it_keeps_its_rate(
    level: SafetyLevel, rate_hz: float, expected: Level, message: str
) -> None:
    health = robot_health(safety(level), 20.0, rate_hz, 12 * MS)
    assert (health.level, health.message) == (expected, message)
    assert (health.values["epoch"], health.values["observation age [ms]"]) == (7, "12.0")


def test_a_learner_says_the_utd_that_is_wanted_and_reached() -> None:
    health = learner_health(LEARNS | {"utd_reason": "it keeps up"}, 0.5)
    assert (health.level, health.message) == (Level.OK, "it keeps up")
    assert (health.values["UTD wanted"], health.values["UTD reached"]) == (2.0, "1.50")
    assert learner_health(None, 0.0).level is Level.STALE
    alarmed = learner_health(LEARNS | {"alarms": ["a checkpoint was damaged"]}, 0.5)
    assert (alarmed.level, alarmed.message) == (Level.WARN, "a checkpoint was damaged")
    assert learner_health({"utd_reached": None, "updates_per_second": None}, 0.5).values["UTD reached"] == "0.00"


def test_a_camera_that_shows_nothing_is_named() -> None:
    assert camera_health({"side": 15.0, "wrist": 15.0}, {"side": 0.1, "wrist": 0.1}).level is Level.OK
    dark = camera_health({"side": 15.0, "wrist": 0.0}, {"side": 0.1, "wrist": 9.0})
    assert dark.level is Level.WARN
    assert dark.message.endswith(": wrist")
    assert dark.values["wrist [Hz]"] == "0.0"


def test_a_recorder_warns_before_the_disk_is_full() -> None:
    assert recorder_health(LOW_DISK, 3).level is Level.OK
    assert recorder_health(LOW_DISK - 1, 3).level is Level.WARN


@pytest.mark.parametrize(("state", "level"), [("RUNNING", Level.OK), ("PAUSED", Level.OK), ("FAULT", Level.ERROR)])
def test_an_actor_is_as_its_session(state: str, level: Level) -> None:
    health = actor_health(state, "why", 4, {"pass": 10, "held": 1})
    assert (health.level, health.message) == (level, f"{state}: why")
    assert health.values["commands held"] == 1


def test_a_rate_is_of_what_came_since_it_was_asked_last() -> None:
    rate = Rate(0)
    for _ in range(10):
        rate.tick()
    assert rate.per_s(SECOND // 2) == 20.0
    assert rate.per_s(SECOND) == 0.0
    assert rate.per_s(SECOND) == 0.0
