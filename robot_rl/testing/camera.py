"""What every camera must do (`robot_rl.protocols.Camera`); inherit and give the fixture."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.clock import Clock, RealClock
from robot_rl.protocols import Camera
from robot_rl.types import Array

READS = 1000


class CameraConformance:
    """Frames, their numbers and their stamps. A real camera blocks until a frame is there, or gives the newest one."""

    @pytest.fixture
    def camera(self) -> Camera:
        """The camera under test, running."""
        raise NotImplementedError("a conformance suite needs a `camera` fixture")

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock that the camera stamps with."""
        return RealClock()

    def advance(self, camera: Camera) -> None:
        """Make a new frame come, where that does not happen by itself (a twin's scene must be stepped)."""

    def next_frame(self, camera: Camera, after: int) -> tuple[int, int, Array]:
        """The first read with a sequence number above `after`; fails after `READS` reads."""
        self.advance(camera)
        for _ in range(READS):
            seq, stamp_ns, frame = camera.read()
            if seq > after:
                return seq, stamp_ns, frame
        pytest.fail(f"expected a frame after number {after}, got none in {READS} reads")

    def test_has_the_calls_of_the_protocol(self, camera: Camera) -> None:
        assert isinstance(camera, Camera)
        assert camera.name
        assert camera.name == camera.name.strip()

    def test_a_frame_is_an_rgb_picture(self, camera: Camera) -> None:
        _, _, frame = camera.read()
        assert frame.dtype == np.uint8
        assert frame.ndim == 3
        assert frame.shape[2] == 3
        assert min(frame.shape[:2]) > 0

    def test_frames_keep_their_size(self, camera: Camera) -> None:
        seq, _, first = camera.read()
        assert self.next_frame(camera, seq)[2].shape == first.shape

    def test_a_new_frame_has_a_later_stamp(self, camera: Camera) -> None:
        seq, stamp_ns, _ = camera.read()
        for _ in range(3):
            new_seq, new_stamp_ns, _ = self.next_frame(camera, seq)
            assert new_stamp_ns > stamp_ns
            seq, stamp_ns = new_seq, new_stamp_ns

    def test_one_number_is_one_frame(self, camera: Camera) -> None:
        seq, stamp_ns, frame = camera.read()
        again_seq, again_stamp_ns, again = camera.read()
        assert again_seq >= seq
        if again_seq == seq:
            assert again_stamp_ns == stamp_ns
            np.testing.assert_array_equal(again, frame)

    def test_a_stamp_is_when_the_frame_was_taken(self, camera: Camera, clock: Clock) -> None:
        _, stamp_ns, _ = camera.read()
        assert 0 <= stamp_ns <= clock.now_ns()

    def test_a_frame_stays_as_it_was_handed_out(self, camera: Camera) -> None:
        seq, _, frame = camera.read()
        kept = frame.copy()
        self.next_frame(camera, seq)
        np.testing.assert_array_equal(frame, kept)

    def test_closing_twice_is_harmless(self, camera: Camera) -> None:
        camera.close()
        camera.close()
