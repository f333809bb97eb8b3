from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pytest

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.records import encode, record


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Outer:
    name: str
    weight: float
    done: bool
    inner: Inner
    free: Mapping[str, Any]


GOOD: dict[str, Any] = {
    "name": "x",
    "weight": 1,
    "done": True,
    "inner": {"kind": "a", "counts": {"n": 2}},
    "free": {"k": [1, None]},
}


def test_round_trip() -> None:
    value = record(Outer, GOOD, "here")
    assert value == Outer("x", 1.0, True, Inner("a", {"n": 2}), {"k": [1, None]})
    assert record(Outer, json.loads(json.dumps(asdict(value))), "here") == value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 1}, "here.name: expected str, got 1"),
        ({"weight": "1"}, "here.weight: expected float"),
        ({"done": 1}, "here.done: expected bool"),
        ({"inner": {"kind": "c", "counts": {}}}, r"here.inner.kind: expected one of \('a', 'b'\), got 'c'"),
        ({"inner": {"kind": [], "counts": {}}}, "here.inner.kind"),
        ({"inner": {"kind": "a", "counts": {"n": True}}}, "here.inner.counts.n: expected int"),
        ({"inner": {"kind": "a", "counts": []}}, "here.inner.counts"),
        ({"inner": 3}, "here.inner: expected the keys"),
        ({"more": 3}, "here: expected the keys"),
    ],
)
def test_every_key_and_type_is_checked(change: dict[str, Any], words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        record(Outer, {**GOOD, **change}, "here")


def test_a_missing_key_is_refused() -> None:
    with pytest.raises(IntegrityError, match="expected the keys"):
        record(Outer, {key: GOOD[key] for key in ("name", "weight")}, "here")


def test_encode_says_what_is_not_finite_in_words() -> None:
    nan, inf = float("nan"), float("inf")
    assert json.loads(encode({"a": [nan, (inf, {"b": -inf})], "c": 1.5}, "/t")) == {
        "a": ["NaN", ["Infinity", {"b": "-Infinity"}]],
        "c": 1.5,
    }


def test_encode_refuses_arrays() -> None:
    with pytest.raises(StoreError, match=r"/t: expected what JSON can hold \(lists for arrays\).*ndarray"):
        encode({"a": np.zeros(2)}, "/t")
