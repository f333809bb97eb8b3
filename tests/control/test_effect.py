"""How far an adapter moves its policy and how smoothly the hand goes, against figures that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from robot_rl.clock import MS, SECOND
from robot_rl.control.effect import Meter
from robot_rl.control.ports import EpisodeRecord
from robot_rl.types import Array, Context, Steering
from tests.control.cell import HORIZON, MemoryRecorder, PointAdapter

STEP_S = 0.05
RECORD = EpisodeRecord("success", 3, 1, terminal=True, truncated=False, complete=True, verdicts={})


class Decided:
    """An adapter that decides what it was made with."""

    version = 4

    def __init__(self, steering: Steering) -> None:
        self.steering = steering
        self.previous: Steering | None = None

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        self.previous = previous
        return self.steering


def test_who_is_watched_is_told_of_the_decision_before() -> None:
    of, before, watched = meter(), steering(), Decided(steering())
    context = Context(np.zeros((1, 3), np.float32))
    of.watch(watched).steer(context, np.random.default_rng(0), explore=True, previous=before)
    assert watched.previous is before


def steering(*, noise: float = 1.0, residual_m: Sequence[float] = (0, 0, 0), **rest: Any) -> Steering:
    residual = np.tile(np.array([*residual_m, 0.0], np.float32), (HORIZON, 1))
    return Steering(np.zeros(1), np.full((HORIZON, 4), noise, np.float32), residual, **rest)


def meter(*, residual: bool = True, frozen_until: int = 0) -> Meter:
    return Meter(MemoryRecorder(), STEP_S, residual=residual, frozen_until=frozen_until)


def decide(meter: Meter, *decisions: Steering, z: Array | None = None) -> None:
    context = Context(np.zeros((1, 3), np.float32), z)
    for decision in decisions:
        assert meter.watch(Decided(decision)).steer(context, np.random.default_rng(0), explore=True) is decision


def go(meter: Meter, *steps: tuple[float, str], late_ms: int = 0) -> None:
    """Steps along x, m, at the control rate; `late_ms` before the last of them."""
    for i, (dx, verdict) in enumerate(steps):
        late = late_ms * MS if i == len(steps) - 1 else 0
        stamp = i * round(STEP_S * SECOND) + late
        meter.write("/steps", stamp, {"sent": [dx, 0.0, 0.0, 0.04], "verdict": verdict})


def newest(meter: Meter) -> dict[str, Any]:
    meter.end(RECORD)
    shown = meter.shown["newest"]
    assert isinstance(shown, dict)
    return shown


def test_noise_residual_and_latent_are_what_was_decided() -> None:
    of = meter()
    of.begin(7, 4)
    z = np.array([[3.0, 4.0]], np.float32)
    latent = np.array([3.0, 4.5], np.float32)
    decide(of, steering(noise=0.5, residual_m=(3e-4, 0, 4e-4), latent=latent), steering(noise=-0.5), z=z)
    found = newest(of)
    assert (found["episode"], found["adapter_version"], found["chunks"]) == (7, 4, 2)
    assert found["noise_rms"] == pytest.approx(0.5)
    assert found["residual_mm"] == pytest.approx(0.5 / np.sqrt(2)), "0.5 mm in one of two chunks"
    assert found["latent_shift"] == pytest.approx(0.5 / np.sqrt(2)), "one of two entries"
    assert found["latent_rms"] == pytest.approx(np.sqrt(12.5))
    assert found["speed_m_s"] is None, "nothing was sent"


def test_what_a_method_does_not_do_is_not_measured_as_nought() -> None:
    of = meter(residual=False)
    of.begin(1, 0)
    decide(of, Steering(np.zeros(0), np.zeros((), np.float32), np.zeros((HORIZON, 4))), z=np.ones((1, 2)))
    found = newest(of)
    assert [found[name] for name in ("noise_rms", "residual_mm", "latent_shift", "latent_rms")] == [None] * 4


def test_velocity_and_acceleration_are_finite_differences_of_what_was_sent() -> None:
    of = meter()
    of.begin(1, 0)
    decide(of, steering())
    go(of, (0.010, "pass"), (0.004, "clipped"), (0.007, "pass"))
    found = newest(of)
    assert found["speed_m_s"] == pytest.approx(0.007 / STEP_S)
    assert found["acceleration_m_s2"] == pytest.approx((0.006 + 0.003) / 2 / STEP_S**2)


@pytest.mark.parametrize("held", [(0.0, "held"), (0.02, "rejected")])
def test_over_a_hold_there_is_no_acceleration(held: tuple[float, str]) -> None:
    of = meter()
    of.begin(1, 0)
    decide(of, steering())
    go(of, (0.010, "pass"), held, (0.004, "pass"))
    found = newest(of)
    assert found["speed_m_s"] == pytest.approx(0.007 / STEP_S), "a held step is no step"
    assert found["acceleration_m_s2"] is None


def test_nor_over_a_pause() -> None:
    of = meter()
    of.begin(1, 0)
    decide(of, steering())
    go(of, (0.010, "pass"), (0.004, "pass"), (0.000, "pass"), late_ms=100)
    assert newest(of)["acceleration_m_s2"] == pytest.approx(0.006 / STEP_S**2)


def test_the_warm_ups_episodes_are_what_later_ones_are_compared_with() -> None:
    of = meter(frozen_until=2)
    for episode, (version, dx) in enumerate([(0, 0.010), (1, 0.006), (2, 0.002)], start=1):
        assert (of.shown["frozen"] or {"episodes": 0})["episodes"] == episode - 1
        of.begin(episode, version)
        decide(of, steering())
        go(of, (dx, "pass"), (dx, "pass"))
        of.end(RECORD)
    frozen = of.shown["frozen"]
    assert frozen["episodes"] == 2
    assert frozen["speed_m_s"] == pytest.approx(0.008 / STEP_S)
    assert frozen["acceleration_m_s2"] == 0.0
    assert of.shown["newest"]["speed_m_s"] == pytest.approx(0.002 / STEP_S)


def test_everything_is_recorded_as_without_it() -> None:
    recorder = MemoryRecorder()
    of = Meter(recorder, STEP_S, residual=True, frozen_until=0)
    of.begin(1, 0)
    go(of, (0.010, "pass"))
    of.write("/held", 5, {"why": "nothing"})
    of.end(RECORD)
    assert [topic for topic, _, _ in recorder.messages] == ["/steps", "/held"]
    assert recorder.records == [RECORD]
    assert of.shown["newest"] is None, "an episode in which nothing was decided says nothing"
    assert of.watch(PointAdapter(version=9)).version == 9
