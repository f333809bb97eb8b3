from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.transitions import from_message, to_message
from robot_rl.types import Transition
from tests.store.examples import transition


def assert_same_bits(got: Transition, expected: Transition) -> None:
    for field in fields(Transition):
        a, b = getattr(got, field.name), getattr(expected, field.name)
        if isinstance(b, np.ndarray):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), field.name
        else:
            assert (type(a), a) == (type(b), b), field.name


def through_json(value: Transition) -> Transition:
    return from_message(json.loads(json.dumps(to_message(value), allow_nan=False)), "here")


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("pool", [0, 4])
def test_round_trip_is_bit_exact(index: int, pool: int) -> None:
    expected = transition(7, index, pool=pool)
    assert_same_bits(through_json(expected), expected)


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_any_allowed_array_round_trips(array: Any) -> None:
    expected = replace(transition(1, 0), steer=array)
    assert_same_bits(through_json(expected), expected)


def test_what_is_read_can_be_used_like_any_array() -> None:
    features = through_json(transition(1, 0)).features
    assert features.flags.writeable
    assert features.flags.aligned


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["x"]), np.zeros(2, np.float16)])
def test_other_dtypes_are_refused(array: Any) -> None:
    with pytest.raises(StoreError, match=r"transition\.noise: expected a dtype of"):
        to_message(replace(transition(1, 0), noise=array))


GOOD = {"dtype": "<f4", "shape": [2], "base64": "AAAAAAAAAAA="}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("noise", None, "noise: expected dtype"),
        ("noise", {**GOOD, "dtype": "|O"}, "noise: expected dtype"),
        ("noise", {**GOOD, "dtype": []}, "noise: expected dtype"),
        ("noise", {**GOOD, "shape": [3]}, "expected 3 of float32, got 8 bytes"),
        ("noise", {**GOOD, "shape": [-1, -2]}, "expected a shape"),
        ("noise", {**GOOD, "shape": [10**9, 10**9]}, "got 8 bytes"),
        ("noise", {**GOOD, "base64": "!!"}, "not base64"),
        ("noise", {**GOOD, "base64": 3}, "not base64"),
        ("episode", 1.5, "episode: expected int, got 1.5"),
        ("terminal", 1, "terminal: expected bool"),
        ("source", "martian", "source: expected one of"),
    ],
)
def test_a_foreign_message_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(IntegrityError, match=f"here.*{words}"):
        from_message({**to_message(transition(1, 0)), name: value}, "here")


def test_missing_and_unknown_keys_are_refused() -> None:
    message = to_message(transition(1, 0))
    with pytest.raises(IntegrityError, match="expected the keys"):
        from_message({**message, "reward": 1.0}, "here")
    del message["discount"]
    with pytest.raises(IntegrityError, match="expected the keys"):
        from_message(message, "here")
