from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.types import (
    ActionSpace,
    Context,
    LabelValue,
    PolicySpec,
    SafetyLevel,
    Source,
    Transition,
    Verdict,
    canonical_hash,
)

SPACE = ActionSpace(
    kind="ee_delta",
    names=("dx", "dy", "dz", "width"),
    units=("m", "m", "m", "m"),
    low=(-0.012, -0.012, -0.012, 0.0),
    high=(0.012, 0.012, 0.012, 0.08),
)
SPEC = PolicySpec(
    policy_id="flow-0",
    observation={"tcp_pose": (7,), "extra.bin_pose": (4,)},
    action_space=SPACE,
    horizon=8,
    step_s=0.05,
    noise_shape=(8, 4),
    features=11,
    latent=16,
    deterministic=True,
    decodes_from_features=True,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_action_size_is_the_number_of_names() -> None:
    assert SPACE.size == 4


@given(JSON)
def test_hash_survives_json(value: object) -> None:
    assert canonical_hash(json.loads(json.dumps(value))) == canonical_hash(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_hash_does_not_see_the_order_of_keys(value: dict[str, int]) -> None:
    assert canonical_hash(dict(reversed(value.items()))) == canonical_hash(value)


def test_hash_takes_tuples_and_lists_as_the_same() -> None:
    assert canonical_hash({"a": (1, 2)}) == canonical_hash({"a": [1, 2]})


def test_hash_of_a_known_value_never_changes() -> None:
    # Files written by older versions name policies by it.
    assert canonical_hash({"b": [1, 2.5], "a": None}) == (
        "e57f5d37865437a82e1108bafb4e5213dfe7e9085f5c253341ebbab30cac5faf"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, policy_id="flow-1"),
        lambda s: replace(s, observation={"tcp_pose": (7,), "extra.bin_pose": (5,)}),
        lambda s: replace(s, action_space=replace(s.action_space, high=(0.012, 0.012, 0.012, 0.07))),
        lambda s: replace(s, horizon=9),
        lambda s: replace(s, step_s=0.1),
        lambda s: replace(s, noise_shape=(32,)),
        lambda s: replace(s, features=12),
        lambda s: replace(s, latent=None),
        lambda s: replace(s, deterministic=False),
        lambda s: replace(s, decodes_from_features=False),
    ],
)
def test_spec_hash_sees_every_field(change: Callable[[PolicySpec], PolicySpec]) -> None:
    assert change(SPEC).hash != SPEC.hash


def test_spec_hash_is_of_the_contents() -> None:
    again = replace(SPEC, observation=dict(reversed(SPEC.observation.items())))
    assert again.hash == SPEC.hash
    assert len(SPEC.hash) == 64


def test_what_flows_cannot_be_written_to() -> None:
    with pytest.raises(FrozenInstanceError):
        SPEC.horizon = 9  # type: ignore[misc]


def test_no_reward_in_a_transition() -> None:
    names = {field.name for field in fields(Transition)}
    assert {name for name in names if "reward" in name or "label" in name or "success" in name} == set()


def test_severity_orders_the_levels() -> None:
    assert SafetyLevel.OK < SafetyLevel.HOLD < SafetyLevel.STOP < SafetyLevel.FAULT
    assert max(SafetyLevel.HOLD, SafetyLevel.STOP) is SafetyLevel.STOP


@pytest.mark.parametrize("kind", [Verdict, Source, LabelValue])
def test_words_go_through_json_as_their_values(kind: type[Verdict] | type[Source] | type[LabelValue]) -> None:
    for member in kind:
        assert kind(json.loads(json.dumps(member))) is member


def test_a_context_repeated_is_each_of_its_observations_in_its_place() -> None:
    context = Context(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]), (b"a", b"b")).repeated(2)
    assert context.features.tolist() == [[1.0], [1.0], [2.0], [2.0]]
    assert context.z is not None
    assert context.z.tolist() == [[3.0], [3.0], [4.0], [4.0]]
    assert context.handle == (b"a", b"a", b"b", b"b")
    local = Context(np.array([[1.0]])).repeated(3)
    assert (local.features.shape, local.z, local.handle) == ((3, 1), None, ())
