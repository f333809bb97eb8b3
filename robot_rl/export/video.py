"""The cameras' frames as video: AV1 in MP4, as the `lerobot` library itself records.

A file holds the frames of whole episodes, one after another without a gap: frame k of a file is at k / fps. Each
episode is encoded by itself, in memory, and its packets are then appended, so that a file is cut between episodes and
can be read from the first frame of any of them. Every second frame stands alone: who trains jumps to frames at random.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.stream import VideoStream

from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.processes import own_schedule
from robot_rl.types import Array

CODEC, PIXELS = "libsvtav1", "yuv420p"
OPTIONS = {"g": "2", "crf": "30", "preset": "8"}
"""Frames from one that stands alone to the next; the quality; how much time is taken for it (13 is least)."""

# SVT-AV1 reads this when an encoder opens, and would tell its whole configuration on the terminal for each episode.
os.environ.setdefault("SVT_LOG", "1")


class Place(NamedTuple):
    """Where the frames of an episode are."""

    file: int
    """Files are counted from 0."""
    from_s: float
    to_s: float


class VideoFiles:
    """The files of one camera, of which one is open at a time."""

    def __init__(self, path: Callable[[int], Path], key: str, fps: int, *, file_bytes: int) -> None:
        """File k is written to `path(k)`, until the next episode makes it larger than `file_bytes`."""
        self._path, self._key, self._fps, self._file_bytes = path, key, fps, file_bytes
        self._number = -1
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._bytes = self._frames = 0  # in the open file
        self.info: dict[str, Any] = {}
        """What info.json says of the camera's files; known with the first episode."""

    def __enter__(self) -> VideoFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, pictures: Iterable[Array]) -> Place:
        """Append an episode: uint8 [H, W, 3] each, all of one size.

        Raises `ConfigError` when there is no encoder, `SpecMismatch` when it refuses the pictures, `OSError` when the
        disk is full.
        """
        episode = _encoded(pictures, self._fps, self._key)
        with av.open(episode) as source:
            template = source.streams.video[0]
            self.info = self.info or _info(template, self._fps)
            if self._stream is None or self._bytes + episode.getbuffer().nbytes > self._file_bytes:
                self._close()
                self._open(template)
            assert self._container is not None  # opened with the stream
            assert self._stream is not None
            begin = self._frames
            for packet in source.demux(template):
                if packet.pts is None or packet.dts is None:  # the one that says that it is over
                    continue
                shift = round(Fraction(begin, self._fps) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, self._stream
                self._container.mux(packet)
                self._frames += 1
        self._bytes += episode.getbuffer().nbytes
        return Place(self._number, begin / self._fps, self._frames / self._fps)

    def _open(self, template: VideoStream) -> None:
        self._number += 1
        path = self._path(self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        # faststart: the index comes first, so that a reader need not look for it at the end.
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        # opaque: packets are handed on, and the template's codec, a decoder, is not asked to encode.
        self._stream = self._container.add_stream_from_template(template, opaque=True)
        self._stream.time_base = template.time_base
        self._bytes = self._frames = 0

    def _close(self) -> None:
        """Write the open file's index."""
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            container.close()


def _encoded(pictures: Iterable[Array], fps: int, key: str) -> io.BytesIO:
    """An MP4 file of one episode."""
    file = io.BytesIO()
    with own_schedule(), av.open(file, "w", format="mp4") as container:
        try:
            stream = container.add_stream(CODEC, rate=fps, options=OPTIONS)
        except UnknownCodecError as error:
            raise ConfigError(
                f"this PyAV has no encoder {CODEC}: expected the wheel's (pip install 'robot-rl[export]'); --images "
                "exports without"
            ) from error
        stream.pix_fmt = PIXELS
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            try:
                container.mux(stream.encode(frame))
            except av.FFmpegError as error:
                size = f"{stream.width} x {stream.height}"
                raise SpecMismatch(
                    f"{key}: the encoder {CODEC} refuses pictures of {size} at {fps} Hz: {error.strerror}; --images "
                    "exports them as they are"
                ) from error
        container.mux(stream.encode(None))
    file.seek(0)
    return file


def _info(stream: VideoStream, fps: int) -> dict[str, Any]:
    """Of a video feature, in the library's words."""
    return {
        "video.height": stream.height,
        "video.width": stream.width,
        "video.codec": stream.codec.canonical_name,
        "video.pix_fmt": stream.pix_fmt,
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
