"""Episodes of pictures become files of video, and come back frame by frame."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.export import video
from robot_rl.export.video import Place, VideoFiles
from robot_rl.types import Array
from tests.export.reader import read_video

FPS = 30


def picture(level: int, size: tuple[int, int] = (48, 64)) -> Array:
    """Red above, `level` of blue below."""
    made = np.zeros((*size, 3), np.uint8)
    made[: size[0] // 2, :, 0] = 200
    made[size[0] // 2 :, :, 2] = level
    return made


def files(folder: Path, file_bytes: int = 10**9) -> VideoFiles:
    return VideoFiles(lambda number: folder / f"{number}.mp4", "front", FPS, file_bytes=file_bytes)


def test_frames_of_episodes_are_at_their_times_without_a_gap(tmp_path: Path) -> None:
    lengths = (1, 5, 4)
    with files(tmp_path) as written:
        places = [written.write(picture(20 * i) for i in range(n)) for n in lengths]
    assert places == [Place(0, 0, 1 / FPS), Place(0, 1 / FPS, 6 / FPS), Place(0, 6 / FPS, 10 / FPS)]
    times, frames = read_video(tmp_path / "0.mp4")
    np.testing.assert_allclose(times, np.arange(10) / FPS, atol=1e-9)
    levels = [20 * i for n in lengths for i in range(n)]
    assert np.abs(frames[:, 36:44, 8:-8, 2].mean((1, 2)) - levels).max() < 6
    assert np.abs(frames[:, 4:20, 8:-8].mean((0, 1, 2)) - (200, 0, 0)).max() < 6
    with av.open(str(tmp_path / "0.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames) == (FPS, 10)  # by these the library finds a frame's number
        alone = [frame.key_frame for frame in container.decode(stream)]
    assert alone == [i % 2 == 0 for n in lengths for i in range(n)]


def test_who_encodes_is_not_made_a_real_time_thread(tmp_path: Path) -> None:
    before = os.sched_getscheduler(0)
    with files(tmp_path) as written:
        written.write([picture(9)] * 2)
    assert os.sched_getscheduler(0) == before


def test_a_file_is_cut_between_episodes(tmp_path: Path) -> None:
    with files(tmp_path, file_bytes=1) as written:
        assert [written.write([picture(9)] * n).file for n in (2, 3)] == [0, 1]
    assert [len(read_video(tmp_path / f"{number}.mp4")[0]) for number in (0, 1)] == [2, 3]
    once = (tmp_path / "0.mp4").stat().st_size
    with files(tmp_path / "more", file_bytes=3 * once) as written:
        assert [written.write([picture(9)] * 2).file for _ in range(4)][:2] == [0, 0]


def test_a_size_that_is_odd_is_kept(tmp_path: Path) -> None:
    with files(tmp_path) as written:
        written.write([picture(9, (25, 33))] * 2)
    assert read_video(tmp_path / "0.mp4")[1].shape == (2, 25, 33, 3)
    assert (written.info["video.height"], written.info["video.width"]) == (25, 33)


def test_what_cannot_be_encoded_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        files(tmp_path) as written,
        pytest.raises(SpecMismatch, match=r"front: .* refuses pictures of 1 x 1 .*--images"),
    ):
        written.write([picture(9, (1, 1))])
    monkeypatch.setattr(video, "CODEC", "libnone")
    with (
        files(tmp_path) as written,
        pytest.raises(ConfigError, match=r"no encoder libnone.*robot-rl\[export\].*--images"),
    ):
        written.write([picture(9)])
    assert not list(tmp_path.iterdir())


def test_the_encoder_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with files(tmp_path) as written:
        written.write([picture(9)] * 3)
    assert capfd.readouterr() == ("", "")
