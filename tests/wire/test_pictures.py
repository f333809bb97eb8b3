"""JPEG on the wire: what is none, or is larger than the spec says, is refused by its header."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from robot_rl.errors import BadObservation
from robot_rl.types import Array
from robot_rl.wire.pictures import PAD, from_jpeg, most_bytes, to_jpeg

SHAPE = (48, 64, 3)


def smooth(shape: tuple[int, ...] = SHAPE) -> Array:
    """A picture that JPEG keeps."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.stack([rows * 2, columns * 2, rows + columns], -1).astype(np.uint8)


def encoded(picture: Array, kind: str = "JPEG", **how: Any) -> Array:
    into = io.BytesIO()
    Image.fromarray(picture).save(into, kind, **how)
    return np.frombuffer(into.getvalue(), np.uint8)


def test_a_picture_comes_back_nearly_as_it_was_in_few_lengths() -> None:
    data = to_jpeg(smooth(), 95)
    assert data.size % PAD == 0 < data.size <= most_bytes(SHAPE)
    back = from_jpeg("images.front", data, SHAPE)
    assert (back.shape, back.dtype) == (SHAPE, np.uint8)
    assert np.abs(back.astype(int) - smooth()).mean() < 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encoded(smooth((480, 640, 3))), "got JPEG of 640 x 480"),
        (encoded(smooth(), progressive=True), "got progressive JPEG of 64 x 48"),
        (encoded(smooth()[:, :, 0]), "got JPEG of 64 x 48"),
        (encoded(smooth(), "PNG"), "got what is none"),
        (encoded(smooth())[:400], "got what is none"),
        (np.zeros(PAD, np.uint8), "got what is none"),
        (np.zeros(0, np.uint8), "got what is none"),
    ],
    ids=["other size", "progressive", "grey", "png", "cut", "zeros", "nothing"],
)
def test_what_is_no_such_jpeg_is_refused(data: Array, words: str) -> None:
    with pytest.raises(BadObservation, match=rf"images\.front: expected a JPEG of 64 x 48, RGB.*{words}"):
        from_jpeg("images.front", data, SHAPE)


def test_a_bomb_is_refused_before_its_pixels_are_made() -> None:
    data = encoded(np.zeros((64, 64, 3), np.uint8)).copy()
    at = data.tobytes().index(b"\xff\xc0")  # the frame's header: 5 bytes on, height and width
    data[at + 5 : at + 9] = 255
    with pytest.raises(BadObservation, match=r"of 65535 x 65535|what is none"):
        from_jpeg("images.front", data, SHAPE)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_jpeg_is_read_or_refused(data: st.DataObject) -> None:
    damaged = encoded(smooth()).copy()
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadObservation):
        assert from_jpeg("images.front", damaged, SHAPE).shape == SHAPE
