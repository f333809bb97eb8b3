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
from robot_rl.wire.codec import DTYPES, HEAD, Forms, Packer, pack, packed, unpack
from robot_rl.wire.values import Limits, pack_value, unpack_value

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


def fields(frame: Any, forms: Forms | None = None) -> tuple[dict[str, Any], list[Any]]:
    """Header and arrays of a message."""
    message = unpack(bytes(frame), forms or Forms())
    return message.form.header, message.arrays()


@settings(max_examples=150, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), HEADERS, ARRAYS)
def test_what_was_packed_comes_back(number: int, left_s: float, header: dict[str, Any], arrays: list[Any]) -> None:
    for frame in (pack(number, header, arrays, left_s), Packer().pack(number, packed(header), arrays, left_s)):
        found = unpack(bytes(frame), Forms(Limits(depth=40)))
        assert (found.number, found.remaining_s, found.form.header) == (number, left_s, header)
        for array, copy in zip(arrays, found.arrays(), strict=True):
            assert (array.dtype, array.shape) == (copy.dtype, copy.shape)
            assert array.tobytes() == copy.tobytes()


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_a_wire_error_and_nothing_else(frame: bytes) -> None:
    with pytest.raises(WireError):
        unpack(frame, Forms())


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    frame = pack(7, {"call": "x", "args": {"a": [1, 2.5, "b"]}}, [np.arange(6.0)])
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WireError):
        for array in unpack(bytes(frame), Forms()).arrays():
            assert array.tobytes() in bytes(frame)


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
    _, (array,) = fields(pack(1, {}, [np.arange(3, dtype=">i4")]))
    assert array.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_arrays_lie_where_their_dtype_wants_them() -> None:
    mixed = [np.zeros(size, np.uint8) for size in (1, 3, 40_001)]
    mixed += [np.arange(3.0), np.zeros(0), np.ones(2, np.float32), np.array(2.5)]
    for header in ({}, {"a": "b"}, {"a": "longer"}):
        _, back = fields(pack(1, header, mixed))
        assert all(np.array_equal(a, b) and b.flags.aligned for a, b in zip(mixed, back, strict=True))


def test_a_form_that_is_known_is_still_held_against_the_bytes() -> None:
    forms = Forms()
    for number in (1, 2):
        frame = bytes(pack(number, {"call": "x"}, [np.full(40_000, number, np.uint8)], 0.5))
        found = unpack(frame, forms)
        assert (found.number, found.remaining_s, found.arrays()[0][0]) == (number, 0.5, number)
        for wrong in (frame[:-8], frame + bytes(8), frame[:-40_000]):
            with pytest.raises(WireError, match=f"of this form has {len(frame)} bytes, got {len(wrong)}"):
                unpack(wrong, forms)


def test_whoever_gets_a_header_may_change_it() -> None:
    forms, frame = Forms(), pack(1, {"args": {"a": [1]}})
    fields(frame, forms)[0]["args"]["a"].append(2)
    assert fields(frame, forms)[0] == {"args": {"a": [1]}}


def test_the_forms_that_are_remembered_are_bounded() -> None:
    forms = Forms()
    tracemalloc.start()
    for i in range(2000):
        unpack(pack(1, {"call": f"{i:900d}"}), forms)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_500_000


def test_the_memory_that_a_packer_keeps_is_bounded() -> None:
    packer = Packer()
    tracemalloc.start()
    for i in range(200):
        packer.pack(1, packed({}), [np.zeros(100_000 + i, np.uint8)])
        packer.pack(1, packed({}), [np.zeros(5_000_000 + i, np.uint8)])
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 3_000_000


def test_a_packer_uses_its_memory_again_and_leaves_nothing_of_what_was_there() -> None:
    packer, header = Packer(), packed({"a": 1})
    first = packer.pack(1, header, [np.full(50_001, 255, np.uint8), np.ones(3)])
    again = packer.pack(2, header, [np.zeros(50_001, np.uint8), np.zeros(3)])
    other = packer.pack(3, header, [np.zeros(40_001, np.uint8), np.ones(3)])
    assert again is first
    assert other is not first
    assert 255 not in again[24:]
    assert bytes(other[-31:-24]) == bytes(7)


def test_arrays_that_are_not_contiguous_travel() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)[::-1, :, ::-1]
    _, (back,) = fields(pack(1, {}, [image]))
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array(["text"]), np.zeros(2, complex), np.zeros(2, "M8[s]")]
)
def test_arrays_of_other_dtypes_are_not_sent(array: Any) -> None:
    with pytest.raises(WireError, match="valid: bool"):
        pack(1, {}, [array])


@pytest.mark.parametrize("value", [object(), {1, 2}, np.float32(1), 2**64, {"nested": [object()]}])
def test_values_that_are_not_plain_are_not_sent(value: Any) -> None:
    with pytest.raises(WireError, match="plain values"):
        pack(1, {"value": value})


@pytest.mark.parametrize("number", [2**63, 1.5, None])
def test_numbers_that_have_no_place_in_the_head_are_not_sent(number: Any) -> None:
    with pytest.raises(WireError, match="64 bits"):
        pack(number, {})


def formed(form: bytes, body: bytes = b"", *, size: int | None = None, zero: int = 0) -> bytes:
    """A message of a form that may be anything."""
    head = HEAD.pack(len(form) if size is None else size, zero, 1, 0.5) + form
    return head + bytes(-len(head) % 8) + body


def described(*arrays: Any, body: bytes = b"") -> bytes:
    """A message of arrays that may be anything."""
    return formed(pack_value([{}, list(arrays)]), body)


GOOD = bytes(pack(1, {"a": "long enough"}, [np.arange(3.0)]))

HOSTILE = {
    "nothing": b"",
    "head alone": HEAD.pack(0, 0, 1, 0.5),
    "less than a head": HEAD.pack(1, 0, 1, 0.5)[:-1],
    "not a message": pack_value({"a": 1}) + bytes(40),
    "pickle": b"\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s." + bytes(40),
    "pickle as form": formed(b"\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."),
    "form beyond the end": formed(b"\x92\x80\x90", size=4096),
    "form of 4 GB": formed(b"\x92\x80\x90", size=2**32 - 1),
    "form of none": formed(b"\x92\x80\x90", size=0),
    "no zero": formed(b"\x92\x80\x90", zero=1),
    "huge map": formed(b"\x92\xdf\xff\xff\xff\xff\x90"),
    "huge list": formed(b"\xdd\xff\xff\xff\xff"),
    "huge text": formed(b"\x92\x81\xdb\xff\xff\xff\xffabc\x90"),
    "huge bytes": formed(b"\x92\x81\xa1a\xc6\xff\xff\xff\xff\x90"),
    "deep lists": formed(b"\x91" * 100_000 + b"\x90"),
    "deep maps": formed(b"\x92" + b"\x81\xa1a" * 10_000 + b"\xc0\x90"),
    "many items": formed(b"\x92\x81\xa1a\xdd\x00\x01\x00\x01" + b"\xc0" * 65537 + b"\x90"),
    "form too large": formed(b"\x92\x81\xa1a\xc6\x00\x20\x00\x00" + bytes(2**21) + b"\x90"),
    "extension": formed(b"\x92\x81\xa1a\xd4\x00\x00\x90"),
    "timestamp": formed(b"\x92\x81\xa1a\xd6\xff\x00\x00\x00\x00\x90"),
    "integer key": formed(b"\x92\x81\x01\x02\x90"),
    "list as key": formed(b"\x92\x81\x90\x02\x90"),
    "bytes as key": formed(b"\x92\x81\xc4\x01a\x02\x90"),
    "bad text": formed(b"\x92\x81\xa1\xff\x02\x90"),
    "reserved": formed(b"\xc1"),
    "trailing": formed(b"\x92\x80\x90\x00"),
    "cut": GOOD[:-4],
    "cut form": GOOD[:30],
    "more than all": GOOD + b"12345678",
    "arrays missing": described(["uint8", [3]]),
    "bytes too many": described(body=b"abc"),
    "form no list": formed(pack_value({})),
    "form of one": formed(pack_value([{}])),
    "form of three": formed(pack_value([{}, [], []])),
    "form without a mapping": formed(pack_value([[], []])),
    "form without a list": formed(pack_value([{}, {}])),
    "form cut": formed(pack_value([{"a": 1}, []])[:-1]),
    "form deep within": formed(b"\x92\x81\xa1a" + b"\x91" * 400 + b"\x90\x90"),
    "object dtype": described(["object", [1]], body=bytes(8)),
    "dtype code": described(["|O", [1]], body=b"12345678"),
    "structured dtype": described(["f4,f4", [1]], body=b"12345678"),
    "dtype no text": described([["uint8"], [1]], body=bytes(8)),
    "too short": described(["float32", [4]], body=bytes(8)),
    "too long": described(["float32", [1]], body=bytes(16)),
    "not padded": described(["uint8", [1]], body=b"1"),
    "three entries": described(["uint8", [1], b"1"], body=bytes(8)),
    "many arrays": described(*[["uint8", [0]]] * 4097),
    "negative": described(["uint8", [-1]], body=bytes(8)),
    "negative twice": described(["uint8", [-2, -4]], body=bytes(8)),
    "shape no numbers": described(["uint8", ["8"]], body=bytes(8)),
    "boolean size": described(["uint8", [True]], body=bytes(8)),
    "empty but huge": described(["uint8", [0, 2**26, 2**26, 2**26]]),
    "many dimensions": described(["uint8", [1] * 9], body=bytes(8)),
    "too heavy": described(["uint8", [2**26]], body=bytes(2**26)),
    "too heavy together": described(*[["uint8", [2**25]]] * 3, body=bytes(8)),
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_frames_are_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        unpack(frame, Forms())


def test_refusing_costs_no_memory() -> None:
    small = [frame for name, frame in HOSTILE.items() if name not in ("too heavy", "form too large")]
    tracemalloc.start()
    for frame in small:
        with pytest.raises(WireError):
            unpack(frame, Forms())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_depth_at_the_limit_is_read() -> None:
    nested: Any = 1
    for _ in range(14):
        nested = [nested]
    fields(pack(1, {"a": nested}))
    with pytest.raises(WireError, match="levels"):
        fields(pack(1, {"a": [nested]}))
