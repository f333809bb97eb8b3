import dataclasses
from typing import Any, TypeVar

import numpy as np
import pytest
from typing_extensions import TypeAliasType

from robot_rl.errors import WireError
from robot_rl.types import (
    ActionSpace,
    Cause,
    Command,
    CommandResult,
    Context,
    Observation,
    PolicySpec,
    RobotSpec,
    SafetyLevel,
    SafetyState,
    Source,
    Transition,
    Verdict,
)
from robot_rl.wire.codec import Forms, pack, unpack
from robot_rl.wire.schemas import from_plain, to_plain

SPACE = ActionSpace("ee_delta", ("dx", "dy"), ("m", "m"), (-1, -0.5), (1, 0.5))
OBSERVATION = Observation(
    3, {"robot": 2**62}, np.arange(7.0), np.zeros(7), np.ones(7), np.float64(0.04), np.zeros(6),
    {"front": np.zeros((2, 3, 3), np.uint8)}, {"bin_pose": np.ones(4)},
)  # fmt: skip
COMMAND = Command(np.array([0.1, 0.2]), 5, 6, 7, 8)
CAUSE = Cause("c1", "operator_stop", SafetyLevel.STOP, "Esc", "operator", 9)
VALUES = [
    OBSERVATION,
    COMMAND,
    CommandResult(COMMAND, np.zeros(2), Verdict.HELD, "late", 10, OBSERVATION),
    SafetyState(SafetyLevel.STOP, 4, (CAUSE,)),
    Context(np.ones((2, 3), np.float32), None, (b"\x00a", b"b")),
    PolicySpec("p", {"tcp_pose": (7,)}, SPACE, 8, 0.05, (8, 2), 11, None, True, False),
    RobotSpec("point", SPACE, 20.0, 0),
    Transition(
        1, 2, np.ones(3), np.ones(3), np.ones((8, 2)), np.ones(4), np.ones((8, 2)), np.ones((8, 2)), 8, 0.97,
        terminal=True, truncated=False, pool_noise=np.zeros((2, 8, 2), np.float32), source=Source.HUMAN,
    ),
]  # fmt: skip


def travelled(value: Any) -> Any:
    arrays: list[Any] = []
    found = unpack(pack(1, {"value": to_plain(value, arrays)}, arrays), Forms())
    header, back = found.form.header, found.arrays()
    return from_plain(type(value), header["value"], back)


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other) or isinstance(one, float | np.floating)
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, item in one.items():
            assert_same(item, other[key])
    else:
        assert one == other


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_type_comes_back_as_it_was(value: Any) -> None:
    assert_same(value, travelled(value))


def test_the_hash_of_a_spec_survives_whole_numbers_in_it() -> None:
    spec = next(value for value in VALUES if isinstance(value, PolicySpec))
    assert travelled(spec).hash == spec.hash


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seq": "3"}, "Observation.seq: expected int, got str"),
        ({"seq": True}, "Observation.seq: expected int, got bool"),
        ({"q": 99}, "Observation.q: expected the index"),
        ({"q": -1}, "Observation.q: expected the index"),
        ({"q": [1.0]}, "Observation.q: expected the index"),
        ({"gripper_width": None}, "Observation.gripper_width: expected float, got None"),
        ({"images": []}, "Observation.images: expected dict, got list"),
        ({"extra": {"bin": "x"}}, "Observation.extra.bin: expected the index"),
        ({"surprise": 1}, "unknown .'surprise'."),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], words: str) -> None:
    arrays: list[Any] = []
    plain = to_plain(OBSERVATION, arrays) | change
    with pytest.raises(WireError, match=words):
        from_plain(Observation, plain, arrays)


def test_a_missing_field_is_named_and_defaults_may_miss() -> None:
    arrays: list[Any] = []
    plain = to_plain(OBSERVATION, arrays)
    del plain["images"]
    assert from_plain(Observation, plain, arrays).images == {}
    del plain["dq"]
    with pytest.raises(WireError, match=r"missing .'dq'\.?"):
        from_plain(Observation, plain, arrays)


def test_an_unknown_level_or_entry_count_is_refused() -> None:
    plain = to_plain(VALUES[3], [])
    with pytest.raises(WireError, match=r"SafetyState\.level: expected one of"):
        from_plain(SafetyState, plain | {"level": 9}, [])
    with pytest.raises(WireError, match=r"causes\[0\].level"):
        from_plain(SafetyState, plain | {"causes": [plain["causes"][0] | {"level": "STOP"}]}, [])


Item = TypeVar("Item", bound=np.generic)
NAMED: Any = TypeAliasType("NAMED", np.ndarray[Any, np.dtype[Item]], type_params=(Item,))


@pytest.mark.parametrize("kind", [NAMED, NAMED[Any]], ids=["plain", "with an item"])
def test_a_named_type_is_read_as_what_it_stands_for(kind: Any) -> None:
    """As numpy's NDArray is one on newer Pythons."""
    array = np.arange(3.0)
    assert from_plain(kind, 0, [array]) is array
    with pytest.raises(WireError, match="index of one of 1 arrays"):
        from_plain(kind, 1, [array])
