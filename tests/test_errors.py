from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl import errors
from robot_rl.errors import IntegrityError, LabelConflict, RobotRLError, StoreError, nearest

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]
METHODS = ["usr", "dsrl-na", "policy_decorator"]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_the_one_base_and_says_what_it_means(kind: type[Exception]) -> None:
    assert issubclass(kind, RobotRLError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_made_from_its_text_alone(kind: type[Exception]) -> None:
    # The wire sends an error as its name and its text.
    assert str(kind("expected 1, got 2")) == "expected 1, got 2"


def test_the_store_s_errors_can_be_caught_together() -> None:
    assert issubclass(LabelConflict, StoreError)
    assert issubclass(IntegrityError, StoreError)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("ursr", "usr"), ("USR", "usr"), ("dsrl_na", "dsrl-na"), ("policydecorator", "policy_decorator")],
)
def test_a_mistyped_name_gets_the_nearest(typed: str, meant: str) -> None:
    assert nearest(typed, METHODS) == f"; did you mean {meant!r}? valid: dsrl-na, policy_decorator, usr"


def test_the_guess_keeps_its_own_case() -> None:
    assert "did you mean 'LidOpening'?" in nearest("lidopening", ["LidOpening"])


def test_a_name_like_no_other_gets_the_list_alone() -> None:
    assert nearest("zzzzzz", METHODS) == "; valid: dsrl-na, policy_decorator, usr"


@given(st.text(), st.lists(st.text()))
def test_any_name_and_any_list_give_words(name: str, valid: list[str]) -> None:
    assert nearest(name, valid).startswith(";")
