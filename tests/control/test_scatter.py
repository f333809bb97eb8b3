"""Chunks before and after steering: drawn where they should be, and never in anybody's way."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from robot_rl.control.scatter import BATCH, Scatter, spread
from robot_rl.errors import DeadlineMissed
from robot_rl.types import Array, Context, Steering
from tests.control.cell import HORIZON, PointAdapter, PointPolicy

CONTEXT = Context(np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32))
SAMPLES = 2 * BATCH + 1


class SidewaysPolicy(PointPolicy):
    """To the left or to the right of 10 mm a chunk by the sign of its noise, and a little up or down."""

    forward_m = 0.0
    """How much its noise changes the way ahead, too."""

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        assert len(context.features) == len(noise) <= BATCH
        chunks = super().decode(context, noise, latent)
        chunks[..., 1] = np.sign(noise[:, :1, 1]) * 0.010 / HORIZON
        chunks[..., 0] += noise[:, :1, 0] * self.forward_m
        chunks[..., 2] = noise[:, :1, 2] * 0.001 / HORIZON
        return chunks


class Left(PointAdapter):
    """Noise that goes to the left, and a residual of 2 mm a chunk upwards."""

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        noise = np.zeros((HORIZON, 4), np.float32)
        noise[:, 1] = 1
        residual = np.zeros((HORIZON, 4), np.float32)
        residual[:, 2] = 0.002 / HORIZON
        return Steering(noise.reshape(-1), noise, residual)


def scatter(policy: PointPolicy, *, waits: bool = True) -> Scatter:
    return Scatter(policy, seed=3, samples=SAMPLES, waits=waits)


def test_points_are_where_the_chunks_would_take_the_hand() -> None:
    drawing = scatter(SidewaysPolicy())
    drawing.begin(5, CONTEXT, Left(version=4), explore=True)
    shown = json.loads(json.dumps(drawing.shown))
    assert (shown["episode"], shown["adapter_version"], shown["axes"]) == (5, 4, ["y", "z"])
    assert [len(shown[cloud]) for cloud in ("base", "steered", "final")] == [SAMPLES] * 3
    assert {abs(y) for y, _ in shown["base"]} == {10.0}
    assert len({y for y, _ in shown["base"]}) == 2, "both of its ways"
    assert {tuple(point) for point in shown["steered"]} == {(10.0, 0.0)}
    assert {tuple(point) for point in shown["final"]} == {(10.0, 2.0)}
    assert shown["final_spread_mm"] == pytest.approx(0, abs=1e-4)
    assert 7 < shown["base_spread_mm"] < 11
    middle = np.array(shown["base"]).mean(0)
    assert shown["moved_mm"] == pytest.approx(np.linalg.norm(np.array([10.0, 2.0]) - middle), abs=0.02)


def test_without_a_residual_there_is_no_third_cloud() -> None:
    drawing = scatter(SidewaysPolicy())
    drawing.begin(1, CONTEXT, PointAdapter(residual_m=0.0), explore=True)
    assert drawing.shown is not None
    assert drawing.shown["final"] is None


def test_a_draw_is_what_seed_and_episode_make_it() -> None:
    drawn = []
    for episode in (1, 1, 2):
        drawing = scatter(SidewaysPolicy())
        drawing.begin(episode, CONTEXT, PointAdapter(), explore=True)
        assert drawing.shown is not None
        drawn.append(drawing.shown["base"])
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_axes_of_the_first_draw_stay() -> None:
    policy = SidewaysPolicy()
    drawing = scatter(policy)
    drawing.begin(1, CONTEXT, Left(), explore=True)
    policy.forward_m = 0.1
    drawing.begin(2, CONTEXT, Left(), explore=True)
    other = scatter(policy)
    other.begin(2, CONTEXT, Left(), explore=True)
    assert drawing.shown is not None
    assert other.shown is not None
    assert (drawing.shown["axes"], other.shown["axes"]) == (["y", "z"], ["x", "y"])


def test_beside_the_robot_it_is_given_up_when_the_next_episode_begins() -> None:
    asked, going_on = threading.Event(), threading.Event()
    calls: list[str] = []

    def slow(call: str) -> None:
        calls.append(call)
        asked.set()
        assert going_on.wait(10)

    drawing = scatter(SidewaysPolicy(slow), waits=False)
    drawing.begin(1, CONTEXT, Left(), explore=True)
    assert asked.wait(10), "it draws on a thread of its own"
    threading.Timer(0.05, going_on.set).start()
    drawing.settle()
    assert calls == ["decode"], "no more than the batch that was under way"
    assert drawing.shown is None
    going_on.set()
    drawing.begin(2, CONTEXT, Left(), explore=True)
    assert drawing._thread is not None
    drawing._thread.join(10)
    drawing.settle()
    assert drawing.shown is not None
    assert drawing.shown["episode"] == 2


def test_a_policy_that_does_not_answer_leaves_the_former_picture() -> None:
    policy = SidewaysPolicy()
    drawing = scatter(policy)
    drawing.begin(1, CONTEXT, Left(), explore=True)

    def gone(call: str) -> None:
        raise DeadlineMissed("no answer")

    policy.trouble = gone
    drawing.begin(2, CONTEXT, Left(), explore=True)
    assert drawing.shown is not None
    assert drawing.shown["episode"] == 1


def test_spread_is_the_rms_distance_from_the_middle() -> None:
    assert spread(np.array([[3.0, 4.0, 0.0], [-3.0, -4.0, 0.0]])) == 5.0
