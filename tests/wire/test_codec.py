import tracemalloc
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.errors import WireError
from robot_rl.wire.codec import DTYPES, Forms, Limits, Room, pack, pack_value, unpack, unpack_value

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=300)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=8), inner, max_size=20),
    max_leaves=30,
)
HEADERS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)
ARRAYS = st.lists(
    st.sampled_from(sorted(DTYPES)).flatmap(lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, min_side=0))),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(HEADERS, ARRAYS)
def test_what_was_packed_comes_back(header: dict[str, Any], arrays: list[Any]) -> None:
    found, back = unpack([bytes(frame) for frame in pack(header, arrays)], Limits(depth=40))
    assert found == header
    for array, copy in zip(arrays, back, strict=True):
        assert (array.dtype, array.shape) == (copy.dtype, copy.shape)
        assert array.tobytes() == copy.tobytes()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=4))
def test_noise_is_a_wire_error_and_nothing_else(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        unpack(frames)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    frames = [
        bytearray(frame) for frame in pack({"id": 7, "call": "x", "args": {"a": [1, 2.5, "b"]}}, [np.arange(6.0)])
    ]
    for _ in range(data.draw(st.integers(1, 3))):
        frame = data.draw(st.sampled_from(frames))
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WireError):
        unpack([bytes(frame) for frame in frames])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_the_scan_and_msgpack_agree(data: bytes) -> None:
    """Whatever passes the scan msgpack can read, apart from text that is not UTF-8; what it refuses we refuse."""
    try:
        value = unpack_value(data)
    except WireError:
        return
    assert msgpack.unpackb(data) == value or value != value


def test_views_are_read_only_and_big_endian_is_turned() -> None:
    _, (array,) = unpack([bytes(frame) for frame in pack({}, [np.arange(3, dtype=">i4")])])
    assert array.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_little_arrays_ride_in_the_header_and_never_make_it_too_large() -> None:
    assert len(pack({}, [np.arange(7.0), np.zeros(1000, np.uint8)])) == 1
    many = [np.full(32, i, np.float64) for i in range(4000)]
    frames = [bytes(frame) for frame in pack({}, many)]
    assert len(frames) == 2
    _, back = unpack(frames)
    assert all(np.array_equal(a, b) for a, b in zip(many, back, strict=True))


def test_arrays_lie_where_their_dtype_wants_them() -> None:
    mixed = [np.zeros(size, np.uint8) for size in (1, 3, 40_001)] + [
        np.arange(3.0),
        np.zeros(0),
        np.ones(2, np.float32),
    ]
    for arrays in (mixed[:2] + mixed[3:], mixed):
        _, back = unpack([bytes(frame) for frame in pack({}, arrays)])
        assert all(np.array_equal(a, b) and b.flags.aligned for a, b in zip(arrays, back, strict=True))


def test_a_form_that_is_known_is_still_held_against_the_bytes() -> None:
    forms = Forms()
    for number in (1, 2.5):
        header, body = pack({"id": number, "call": "x"}, [np.full(40_000, number, np.uint8)])
        found, (array,) = unpack([header, body], forms=forms)
        assert (found, array[0]) == ({"id": number, "call": "x"}, int(number))
        for wrong in (body[:-8], bytes(body) + bytes(8), b""):
            with pytest.raises(WireError, match="have 40000 bytes, got"):
                unpack([header, wrong], forms=forms)


def test_whoever_gets_a_header_may_change_it() -> None:
    forms, frames = Forms(), pack({"args": {"a": [1]}})
    unpack(frames, forms=forms)[0]["args"]["a"].append(2)
    assert unpack(frames, forms=forms)[0] == {"args": {"a": [1]}}


def test_the_forms_that_are_remembered_are_bounded() -> None:
    forms = Forms()
    tracemalloc.start()
    for i in range(2000):
        unpack(pack({"call": f"{i:900d}"}), forms=forms)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000


def test_a_room_is_used_again_and_keeps_nothing_of_what_was_there() -> None:
    room = Room()
    first = pack({}, [np.full(50_000, 255, np.uint8)], room)[1]
    _, body = pack({}, [np.zeros(40_001, np.uint8), np.ones(3)], room)
    assert np.shares_memory(np.frombuffer(first, np.uint8), np.frombuffer(body, np.uint8))
    assert bytes(body[40_001:40_008]) == bytes(7)


def test_arrays_that_are_not_contiguous_travel() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)[::-1, :, ::-1]
    _, (back,) = unpack([bytes(frame) for frame in pack({}, [image])])
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array(["text"]), np.zeros(2, complex), np.zeros(2, "M8[s]")]
)
def test_arrays_of_other_dtypes_are_not_sent(array: Any) -> None:
    with pytest.raises(WireError, match="valid: bool"):
        pack({}, [array])


@pytest.mark.parametrize("value", [object(), {1, 2}, np.float32(1), 2**64, {"nested": [object()]}])
def test_values_that_are_not_plain_are_not_sent(value: Any) -> None:
    with pytest.raises(WireError, match="plain values"):
        pack({"value": value})


def described(*arrays: Any) -> bytes:
    """A header whose arrays' bytes are in another frame."""
    return pack_value([{}, pack_value([{}, list(arrays)])])


def within(body: Any, *arrays: Any) -> bytes:
    """A header with the arrays' bytes inside."""
    return pack_value([{}, pack_value([{}, list(arrays)]), body])


def formed(form: bytes) -> list[bytes]:
    """A message of a form that may be anything."""
    return [pack_value([{}, form, b""])]


HOSTILE = {
    "no frames": [],
    "empty": [b""],
    "not a message": [pack_value({"a": 1})],
    "pickle": [b"\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."],
    "huge map": [b"\x92\xdf\xff\xff\xff\xff\x90"],
    "huge list": [b"\xdd\xff\xff\xff\xff"],
    "huge text": [b"\x92\x81\xdb\xff\xff\xff\xffabc\x90"],
    "huge bytes": [b"\x92\x81\xa1a\xc6\xff\xff\xff\xff\x90"],
    "deep lists": [b"\x91" * 100_000 + b"\x90"],
    "deep maps": [b"\x92" + b"\x81\xa1a" * 10_000 + b"\xc0\x90"],
    "many items": [b"\x92\x81\xa1a\xdd\x00\x01\x00\x01" + b"\xc0" * 65537 + b"\x90"],
    "header too large": [b"\x92\x81\xa1a\xc6\x00\x20\x00\x00" + bytes(2**21) + b"\x90"],
    "extension": [b"\x92\x81\xa1a\xd4\x00\x00\x90"],
    "timestamp": [b"\x92\x81\xa1a\xd6\xff\x00\x00\x00\x00\x90"],
    "integer key": [b"\x92\x81\x01\x02\x90"],
    "list as key": [b"\x92\x81\x90\x02\x90"],
    "bytes as key": [b"\x92\x81\xc4\x01a\x02\x90"],
    "bad text": [b"\x92\x81\xa1\xff\x02\x90"],
    "reserved": [b"\xc1"],
    "trailing": [within(b"") + b"\x00"],
    "cut": [pack_value([{"a": "long enough"}, pack_value([{}, []]), b""])[:-4]],
    "frames missing": [described(["uint8", [3]])],
    "frames too many": [within(b""), b""],
    "bytes too many": [described(), b"abc"],
    "too many frames": [described()] + [b""] * 5000,
    "form no bytes": [pack_value([{}, [{}, []], b""])],
    "form no list": formed(pack_value({})),
    "form of one": formed(pack_value([{}])),
    "form without a mapping": formed(pack_value([[], []])),
    "form without a list": formed(pack_value([{}, {}])),
    "form cut": formed(pack_value([{"a": 1}, []])[:-1]),
    "form deep": formed(b"\x91" * 400 + b"\x90"),
    "form deep within": formed(b"\x92\x81\xa1a" + b"\x91" * 400 + b"\x90\x90"),
    "numbers no mapping": [pack_value([[], pack_value([{}, []]), b""])],
    "four values": [pack_value([{}, pack_value([{}, []]), b"", b""])],
    "object dtype": [described(["object", [1]]), bytes(8)],
    "dtype code": [described(["|O", [1]]), b"12345678"],
    "structured dtype": [described(["f4,f4", [1]]), b"12345678"],
    "dtype no text": [described([["uint8"], [1]]), bytes(8)],
    "too short": [described(["float32", [4]]), bytes(8)],
    "too long": [described(["float32", [1]]), bytes(16)],
    "inside too short": [within(b"123", ["float32", [4]])],
    "inside too long": [within(bytes(16), ["float32", [1]])],
    "inside no bytes": [within("12345678", ["uint8", [4]])],
    "inside nil": [within(None, ["uint8", [4]])],
    "inside and a frame": [within(bytes(8), ["uint8", [1]]), bytes(8)],
    "not padded": [described(["uint8", [1]]), b"1"],
    "three entries": [described(["uint8", [1], b"1"]), bytes(8)],
    "many arrays": [within(b"", *[["uint8", [0]]] * 4097)],
    "negative": [described(["uint8", [-1]]), bytes(8)],
    "negative twice": [described(["uint8", [-2, -4]]), bytes(8)],
    "shape no numbers": [described(["uint8", ["8"]]), bytes(8)],
    "boolean size": [described(["uint8", [True]]), bytes(8)],
    "empty but huge": [described(["uint8", [0, 2**26, 2**26, 2**26]]), b""],
    "many dimensions": [described(["uint8", [1] * 9]), bytes(8)],
    "too heavy": [described(["uint8", [2**26]]), bytes(2**26)],
    "too heavy together": [described(*[["uint8", [2**25]]] * 3), bytes(8)],
}


@pytest.mark.parametrize("frames", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_frames_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        unpack(frames)


def test_refusing_costs_no_memory() -> None:
    small = [frames for name, frames in HOSTILE.items() if name not in ("too heavy", "header too large")]
    tracemalloc.start()
    for frames in small:
        with pytest.raises(WireError):
            unpack(frames)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_depth_at_the_limit_is_read() -> None:
    nested: Any = 1
    for _ in range(14):
        nested = [nested]
    unpack([bytes(pack({"a": nested})[0])])
    with pytest.raises(WireError, match="levels"):
        unpack([bytes(pack({"a": [nested]})[0])])
