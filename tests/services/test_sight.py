"""A control loop sees each camera's newest frame, and never a stale one without a word."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

from robot_rl.clock import MS
from robot_rl.control.episode import EpisodeRun
from robot_rl.control.motion import Motion
from robot_rl.errors import BadObservation, DeadlineMissed
from robot_rl.services.sight import FirstFrames, SeeingPort, Sight, cameras_of
from robot_rl.types import Array
from robot_rl.wire.latest import Publisher
from robot_rl.wire.observations import check_observation
from tests.control.cell import Cell, MemoryRecorder, PointAdapter, PointPolicy
from tests.realtime_run import wait_for

OLDEST_MS = 200.0


class SeeingPolicy(PointPolicy):
    """Goes nowhere unless it sees `front`."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, observation={"tcp_pose": (7,), "images.front": (4, 6, 3)})
        self.saw: list[int] = []

    def encode(self, observations):  # type: ignore[no-untyped-def]
        for observation in observations:
            check_observation(observation, self.spec)
            self.saw.append(int(observation.images["front"].mean()))
        return super().encode(observations)


def jpeg(grey: int, size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


class Bench:
    """One subscribed `Sight` of the cameras front (read by the policy) and side, by a stepped clock."""

    def __init__(self, folder: str) -> None:
        self.cell = Cell()
        self.clock = self.cell.clock
        self.clock.advance(1_000 * MS)
        self.camera = Publisher(f"ipc://{folder}/frames")
        self.sight = Sight(self.camera.endpoint, ["front", "side"], ["front"], OLDEST_MS, self.clock)
        self.marks = 0
        self.port = SeeingPort(self.cell.guard, self.sight)
        self.connect()

    def show(self, grey: int, stamp_ns: int | None = None, camera: str = "front", picture: bytes | None = None) -> None:
        """Publish a frame, and wait until it has come: what follows it has."""
        stamp_ns = self.clock.now_ns() if stamp_ns is None else stamp_ns
        self.camera.publish(camera, {"stamp_ns": stamp_ns}, jpeg(grey) if picture is None else picture)
        self.marks += 1
        self.camera.publish("mark", {"stamp_ns": self.marks})
        wait_for(lambda: self.marked(self.marks), "a frame")

    def marked(self, stamp_ns: int) -> bool:
        self.sight.take()
        return "mark" in self.sight._newest and self.sight._newest["mark"].stamp_ns >= stamp_ns

    def connect(self) -> None:
        """Nothing that is published before a subscription stands comes."""

        def heard() -> bool:
            self.marks += 1
            self.camera.publish("mark", {"stamp_ns": self.marks})
            return self.marked(1)

        wait_for(heard, "the subscription")

    def front(self) -> Array:
        return self.port.observe().images["front"]

    def close(self) -> None:
        self.sight.close()
        self.camera.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with TemporaryDirectory() as folder:  # a socket's path must be short
        bench = Bench(folder)
        yield bench
        bench.close()


def test_an_observation_has_the_newest_frame_under_its_own_stamp(bench: Bench) -> None:
    assert cameras_of(SeeingPolicy().spec) == ("front",)
    bench.show(10)
    bench.clock.advance(50 * MS)
    bench.show(200)
    bench.show(90, camera="side")
    bench.clock.advance(20 * MS)
    seen = bench.port.observe()
    assert (seen.images["front"].shape, seen.images["front"].dtype) == ((4, 6, 3), np.uint8)
    assert abs(int(seen.images["front"].mean()) - 200) <= 2
    assert seen.stamps_ns["front"] == bench.clock.now_ns() - 20 * MS
    assert set(seen.images) == {"front"}, "what the policy does not read is not decoded"
    assert seen.seq == bench.cell.guard.observe().seq


@pytest.mark.parametrize("later_ms", [0.0, OLDEST_MS])
def test_a_frame_is_acted_on_as_long_as_the_task_says_and_no_longer(bench: Bench, later_ms: float) -> None:
    bench.show(10)
    bench.clock.advance(round(later_ms * MS))
    bench.front()
    bench.clock.advance(1 + round((OLDEST_MS - later_ms) * MS))
    with pytest.raises(BadObservation, match=r"camera front: its newest frame is older than 200 ms"):
        bench.front()


def test_before_the_first_frame_there_is_no_picture(bench: Bench) -> None:
    with pytest.raises(BadObservation, match="camera front: expected a frame, none has come yet"):
        bench.front()


@pytest.mark.parametrize("off_ms", [-30, 0, 5_000])
def test_a_frame_that_is_not_newer_is_no_news(bench: Bench, off_ms: int) -> None:
    """A camera that repeats itself, one whose sequence goes back, and one with another clock."""
    first_ns = bench.clock.now_ns()
    bench.show(10)
    bench.clock.advance(round(OLDEST_MS * MS) + 1)
    bench.show(200, first_ns + off_ms * MS)
    with pytest.raises(BadObservation, match="older than"):
        bench.front()


@pytest.mark.parametrize("picture", [b"", b"no picture", jpeg(10)[:40]])
def test_what_is_no_picture_is_a_bad_observation(bench: Bench, picture: bytes) -> None:
    bench.show(0, picture=picture)
    with pytest.raises(BadObservation, match="camera front: expected a JPEG frame"):
        bench.front()


def test_a_camera_that_freezes_holds_the_robot_until_it_shows_something(bench: Bench) -> None:
    cell, recorder, policy = bench.cell, MemoryRecorder(), SeeingPolicy()
    bench.show(10)
    cell.start_episode()

    cell.at[9] = lambda: bench.show(200)  # the robot has held since step 4, at 200 ms
    motion = Motion(SeeingPort(cell.guard, bench.sight), cell.session, cell.clock, cell.pump)
    run = EpisodeRun(
        motion, policy, PointAdapter(), recorder,
        episode=1, max_steps=8, discount=0.97, rng=np.random.default_rng(0),
    )  # fmt: skip
    bench.sight._oldest_ms = 150.0
    record = run.run()
    assert record.steps == 8
    assert record.verdicts["held"] >= 4
    whys = [message["why"] for message in recorder.topic("/held")]
    assert "camera front: its newest frame is older than 150 ms" in whys[0]
    assert [grey > 100 for grey in policy.saw[:2]] == [False, True], "no chunk from the stale picture"


def test_a_camera_that_shows_nothing_ends_the_wait_with_its_name(bench: Bench) -> None:
    tended = []
    with pytest.raises(DeadlineMissed, match=r"expected a first frame of front, which the policy reads, within 0\.05"):
        bench.sight.await_wanted(0.05, lambda: tended.append(1))
    assert tended
    bench.show(10)
    bench.sight.await_wanted(0.0, lambda: None)


def test_an_episode_waits_for_every_camera_and_says_what_it_goes_on_without(bench: Bench) -> None:
    first = FirstFrames(bench.sight, 0.05)
    bench.show(10)
    assert first() == "waiting for the first frame of side"
    assert not first.alarms
    wait_for(lambda: first() is None, "the end of its patience")
    assert first.alarms == ["no frame of side has come in 0.05 s: episodes go on without"]
    bench.show(10, camera="side")
    assert first() is None
    assert not first.alarms, "it has come after all"


def test_what_was_shown_before_an_episode_is_not_acted_on_in_it(bench: Bench) -> None:
    bench.show(10)
    bench.clock.advance(10 * MS)
    bench.cell.guard.renew_operator()
    bench.port.set_active(True)
    with pytest.raises(BadObservation, match="none has come yet"):
        bench.front()
    bench.show(200)
    assert bench.front().mean() > 190
