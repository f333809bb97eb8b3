"""The camera suite passes a sound camera, and each fault below fails the test that is there for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from robot_rl.clock import RealClock
from robot_rl.errors import RobotFault
from robot_rl.protocols import Camera
from robot_rl.testing.camera import CameraConformance
from robot_rl.types import Array


@dataclass
class GreyCamera:
    """A grey picture, one shade lighter with every read."""

    name: str = "front"
    seq: int = 0
    closed: int = field(default=0)

    def read(self) -> tuple[int, int, Array]:
        self.seq += 1
        return self.seq, RealClock().now_ns(), np.full((4, 6, 3), self.seq % 256, np.uint8)

    def close(self) -> None:
        self.closed += 1


class TestGreyCamera(CameraConformance):
    @pytest.fixture
    def camera(self) -> Camera:
        return GreyCamera()


class Nameless(GreyCamera):
    def __init__(self) -> None:
        super().__init__(name="")


class OneChannel(GreyCamera):
    def read(self) -> tuple[int, int, Array]:
        seq, stamp_ns, frame = super().read()
        return seq, stamp_ns, frame[..., :1]


class Grows(GreyCamera):
    def read(self) -> tuple[int, int, Array]:
        seq, stamp_ns, _ = super().read()
        return seq, stamp_ns, np.zeros((4 + seq, 6, 3), np.uint8)


class Frozen(GreyCamera):
    def read(self) -> tuple[int, int, Array]:
        return 1, RealClock().now_ns(), np.zeros((4, 6, 3), np.uint8)


class StampsTheSameInstant(GreyCamera):
    def read(self) -> tuple[int, int, Array]:
        seq, _, frame = super().read()
        return seq, 5, frame


class RenumbersNothing(GreyCamera):
    def read(self) -> tuple[int, int, Array]:
        _, stamp_ns, frame = super().read()
        return 1, stamp_ns, frame


class StampsTheFuture(GreyCamera):
    def read(self) -> tuple[int, int, Array]:
        seq, stamp_ns, frame = super().read()
        return seq, 2 * stamp_ns, frame


class ReusesItsBuffer(GreyCamera):
    buffer = np.zeros((4, 6, 3), np.uint8)

    def read(self) -> tuple[int, int, Array]:
        seq, stamp_ns, frame = super().read()
        self.buffer[:] = frame
        return seq, stamp_ns, self.buffer


class ClosesOnce(GreyCamera):
    def close(self) -> None:
        super().close()
        if self.closed > 1:
            raise RobotFault("already closed")


SUITE = CameraConformance
FAULTS: list[tuple[type[GreyCamera], Callable[..., None]]] = [
    (Nameless, SUITE.test_has_the_calls_of_the_protocol),
    (OneChannel, SUITE.test_a_frame_is_an_rgb_picture),
    (Grows, SUITE.test_frames_keep_their_size),
    (Frozen, SUITE.test_frames_keep_their_size),
    (StampsTheSameInstant, SUITE.test_a_new_frame_has_a_later_stamp),
    (RenumbersNothing, SUITE.test_one_number_is_one_frame),
    (StampsTheFuture, SUITE.test_a_stamp_is_when_the_frame_was_taken),
    (ReusesItsBuffer, SUITE.test_a_frame_stays_as_it_was_handed_out),
    (ClosesOnce, SUITE.test_closing_twice_is_harmless),
]


@pytest.mark.parametrize(("faulty", "test"), FAULTS)
def test_each_fault_fails_its_test(faulty: type[GreyCamera], test: Callable[..., None]) -> None:
    clock = {"clock": RealClock()} if "clock" in test.__annotations__ else {}
    with pytest.raises((AssertionError, pytest.fail.Exception, RobotFault)):
        test(SUITE(), camera=faulty(), **clock)


def test_every_test_of_the_suite_has_a_fault() -> None:
    assert {name for name in dir(SUITE) if name.startswith("test_")} == {test.__name__ for _, test in FAULTS}
