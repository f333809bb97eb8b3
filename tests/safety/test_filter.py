from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.safety.filter import ROUNDING_M, check_chunk, filter_step
from robot_rl.safety.limits import Limits
from robot_rl.types import Array, Verdict

# Numbers that binary fractions hold exactly, so that the tests can stand on the limits themselves.
LIMITS = Limits(
    workspace_low=np.array([-1.0, -1.0, -1.0]),
    workspace_high=np.array([1.0, 1.0, 1.0]),
    step_m=0.25,
    seam_m=0.125,
    tolerance=2.0,
    gripper_low=0.0,
    gripper_high=0.5,
)
LOOSE_SEAM = Limits(LIMITS.workspace_low, LIMITS.workspace_high, 0.25, 4.0, 2.0, 0.0, 0.5)
HERE = np.zeros(3)
REST = np.zeros(3)
BEYOND = 1 + 1e-9
EPS = 1e-12


def action(x: float = 0.0, y: float = 0.0, z: float = 0.0, width: float = 0.25) -> Array:
    return np.array([x, y, z, width])


# --- one step -------------------------------------------------------------------------------------------------------


def test_an_action_within_all_limits_passes_as_it_is() -> None:
    sent, verdict, reason = filter_step(LIMITS, HERE, REST, action(0.0625, -0.0625, 0.03125, 0.375))
    assert verdict is Verdict.PASS
    assert reason == ""
    assert sent is not None
    assert sent.dtype == np.float64
    np.testing.assert_array_equal(sent, [0.0625, -0.0625, 0.03125, 0.375])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint8])
def test_real_numbers_of_any_size_are_understood(kind: Any) -> None:
    sent, verdict, _ = filter_step(LIMITS, HERE, REST, np.zeros(4, dtype=kind))
    assert verdict is Verdict.PASS
    np.testing.assert_array_equal(sent, np.zeros(4))


@pytest.mark.parametrize("where", range(4))
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_rejected(where: int, bad: float) -> None:
    target = action()
    target[where] = bad
    sent, verdict, reason = filter_step(LIMITS, HERE, REST, target)
    assert sent is None
    assert verdict is Verdict.REJECTED
    assert reason.startswith("expected finite numbers, got [")


@pytest.mark.parametrize(
    "target",
    [
        np.zeros(3),
        np.zeros(5),
        np.zeros((1, 4)),
        np.zeros(()),
        np.zeros(4, dtype=complex),
        np.zeros(4, dtype=bool),
        np.array(["0"] * 4),
        np.array([None] * 4),
    ],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)
def test_what_is_no_action_is_rejected(target: Array) -> None:
    sent, verdict, reason = filter_step(LIMITS, HERE, REST, target)
    assert sent is None
    assert verdict is Verdict.REJECTED
    assert reason == f"expected 4 real numbers, got {target.dtype} {list(target.shape)}"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", ["position", "displacement"])
def test_without_a_known_position_everything_is_rejected(bad: float, which: str) -> None:
    unknown = np.array([0.0, bad, 0.0])
    here, last = (unknown, REST) if which == "position" else (HERE, unknown)
    sent, verdict, reason = filter_step(LIMITS, here, last, action())
    assert sent is None
    assert verdict is Verdict.REJECTED
    assert reason == f"the robot's position is not known: {here.tolist()} after {last.tolist()}"


def test_a_long_step_keeps_its_direction() -> None:
    sent, verdict, reason = filter_step(LOOSE_SEAM, HERE, REST, action(0.3, 0.0, -0.4))
    assert verdict is Verdict.CLIPPED
    assert reason == "step clipped by 0.25 m"
    assert sent is not None
    np.testing.assert_allclose(sent, [0.15, 0.0, -0.2, 0.25], atol=EPS)


def test_step_at_the_limit_passes_and_at_the_tolerance_is_clipped() -> None:
    assert filter_step(LOOSE_SEAM, HERE, REST, action(0.25)).verdict is Verdict.PASS
    at_tolerance = filter_step(LOOSE_SEAM, HERE, REST, action(0.5))
    assert at_tolerance.verdict is Verdict.CLIPPED
    assert at_tolerance.sent is not None
    assert at_tolerance.sent[0] == 0.25
    beyond = filter_step(LOOSE_SEAM, HERE, REST, action(0.5 * BEYOND))
    assert beyond.sent is None
    assert beyond.verdict is Verdict.REJECTED
    assert beyond.reason == "step of 0.5 m, allowed 0.25 m (x 2 is clipped)"


def test_a_step_beyond_all_numbers_is_rejected() -> None:
    assert filter_step(LIMITS, HERE, REST, np.full(4, 1e308)).verdict is Verdict.REJECTED


def test_a_jerk_is_spread() -> None:
    last = np.array([0.125, 0.0, 0.0])
    sent, verdict, reason = filter_step(LIMITS, HERE, last, action(-0.0625))
    assert verdict is Verdict.CLIPPED
    assert reason == "seam clipped by 0.0625 m"
    np.testing.assert_array_equal(sent, action(0.0))


def test_seam_at_the_limit_passes_and_at_the_tolerance_is_clipped() -> None:
    last = np.array([0.0, 0.125, 0.0])
    assert filter_step(LIMITS, HERE, last, action(0.0, 0.25)).verdict is Verdict.PASS
    assert filter_step(LIMITS, HERE, last, action(0.0, 0.0)).verdict is Verdict.PASS
    at_tolerance = filter_step(LIMITS, HERE, last, action(0.0, -0.125))
    assert at_tolerance.verdict is Verdict.CLIPPED
    assert at_tolerance.sent is not None
    assert at_tolerance.sent[1] == 0.0
    beyond = filter_step(LIMITS, HERE, last, action(0.0, -0.125 * BEYOND))
    assert beyond.sent is None
    assert beyond.verdict is Verdict.REJECTED
    assert beyond.reason == "change of 0.25 m, allowed 0.125 m (x 2 is clipped)"


def test_the_seam_is_judged_by_what_the_step_limit_left() -> None:
    """0.375 after 0.125 changes by the whole tolerance; what is left of it, 0.25, does not."""
    sent, verdict, reason = filter_step(LIMITS, HERE, np.array([0.125, 0.0, 0.0]), action(0.375 * BEYOND))
    assert verdict is Verdict.CLIPPED
    assert reason == "step clipped by 0.125 m"
    assert sent is not None
    np.testing.assert_allclose(sent, action(0.25), atol=EPS)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_motion_ends_at_the_wall_and_slides_along_it(axis: int, side: float) -> None:
    here = np.zeros(3)
    here[axis] = side * 0.96875
    target = np.full(4, 0.0625)
    target[axis] = side * 0.0625
    sent, verdict, reason = filter_step(LIMITS, here, REST, target)
    assert verdict is Verdict.CLIPPED
    assert reason == "workspace clipped by 0.03125 m"
    expected = target.copy()
    expected[axis] = side * 0.03125
    np.testing.assert_array_equal(sent, expected)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_outside_the_workspace_it_may_come_back_but_go_no_further(side: float) -> None:
    outside = np.array([side * 1.5, 0.0, 0.0])
    back = filter_step(LIMITS, outside, REST, action(-side * 0.0625))
    assert back.verdict is Verdict.PASS
    stay = filter_step(LIMITS, outside, REST, action(0.0, 0.0625))
    assert stay.verdict is Verdict.PASS
    further = filter_step(LIMITS, outside, REST, action(side * 0.0625))
    assert further.verdict is Verdict.CLIPPED
    assert further.sent is not None
    assert further.sent[0] == 0.0


def test_a_wall_comes_before_smoothness() -> None:
    sent, _, reason = filter_step(LIMITS, np.array([1.0, 0.0, 0.0]), np.array([0.25, 0.0, 0.0]), action(0.25))
    assert reason == "workspace clipped by 0.25 m"
    np.testing.assert_array_equal(sent, action())


@pytest.mark.parametrize(("asked", "given"), [(-7.0, 0.0), (0.0, 0.0), (0.5, 0.5), (9.0, 0.5)])
def test_the_gripper_stays_in_its_range(asked: float, given: float) -> None:
    sent, verdict, reason = filter_step(LIMITS, HERE, REST, action(width=asked))
    assert sent is not None
    assert sent[3] == given
    assert verdict is (Verdict.PASS if asked == given else Verdict.CLIPPED)
    assert reason == ("" if asked == given else f"gripper clipped by {abs(asked - given):.4g} m")


def test_rounding_is_not_called_a_clip_but_taken_off() -> None:
    at_rounding = filter_step(LIMITS, HERE, REST, action(width=-ROUNDING_M))
    assert at_rounding.verdict is Verdict.PASS
    assert at_rounding.sent is not None
    assert at_rounding.sent[3] == 0.0
    assert filter_step(LIMITS, HERE, REST, action(width=-1.01 * ROUNDING_M)).verdict is Verdict.CLIPPED
    assert ROUNDING_M == 1e-6


def test_every_limit_that_took_something_is_named() -> None:
    _, verdict, reason = filter_step(LIMITS, np.array([0.9375, 0.0, 0.0]), REST, action(0.375, 0.0, 0.0, 1.0))
    assert verdict is Verdict.CLIPPED
    assert reason == (
        "step clipped by 0.125 m, seam clipped by 0.125 m, workspace clipped by 0.0625 m, gripper clipped by 0.5 m"
    )


def test_inputs_are_left_alone() -> None:
    target, here, last = action(0.5, 0.0, 0.0, 9.0), np.array([0.9, 0.0, 0.0]), np.array([0.2, 0.0, 0.0])
    filter_step(LIMITS, here, last, target)
    np.testing.assert_array_equal(target, action(0.5, 0.0, 0.0, 9.0))
    np.testing.assert_array_equal(here, [0.9, 0.0, 0.0])
    np.testing.assert_array_equal(last, [0.2, 0.0, 0.0])


# --- for every step -------------------------------------------------------------------------------------------------


def vectors(longest: float, size: int = 3) -> st.SearchStrategy[Array]:
    numbers = st.floats(-longest, longest)
    return st.lists(numbers, min_size=size, max_size=size).map(np.array)


@settings(max_examples=300, deadline=None)
@given(here=vectors(1.5), last=vectors(0.14), target=vectors(0.6, size=4))
def test_whatever_is_sent_is_within_the_limits(here: Array, last: Array, target: Array) -> None:
    sent, verdict, reason = filter_step(LIMITS, here, last, target)
    assert (sent is None) == (verdict is Verdict.REJECTED)
    assert (reason == "") == (verdict is Verdict.PASS)
    if sent is None:
        return
    delta = sent[:3]
    assert np.linalg.norm(delta) <= LIMITS.step_m + EPS
    low, high = np.minimum(LIMITS.workspace_low, here), np.maximum(LIMITS.workspace_high, here)
    assert np.all(here + delta >= low - EPS)
    assert np.all(here + delta <= high + EPS)
    assert LIMITS.gripper_low <= sent[3] <= LIMITS.gripper_high
    if "workspace" not in reason:
        assert np.linalg.norm(delta - last) <= LIMITS.seam_m + ROUNDING_M
    if verdict is Verdict.PASS:
        np.testing.assert_allclose(sent, target, atol=ROUNDING_M)


@settings(max_examples=150, deadline=None)
@given(here=vectors(0.9), last=vectors(0.05), delta=vectors(0.04), width=st.floats(0.0, 0.5))
def test_what_is_within_the_limits_is_sent_to_the_bit(here: Array, last: Array, delta: Array, width: float) -> None:
    np.testing.assert_array_equal(filter_step(LIMITS, here, last, np.array([*delta, width])).sent, [*delta, width])


@settings(max_examples=150, deadline=None)
@given(here=vectors(0.5), last=vectors(0.14), target=vectors(0.3, size=4))
def test_away_from_walls_what_was_sent_would_be_sent_again(here: Array, last: Array, target: Array) -> None:
    sent = filter_step(LIMITS, here, last, target).sent
    if sent is not None:
        again = filter_step(LIMITS, here, last, sent).sent
        assert again is not None
        np.testing.assert_allclose(again, sent, atol=EPS)


# --- a chunk --------------------------------------------------------------------------------------------------------


def test_a_chunk_within_the_limits_may_be_started() -> None:
    assert check_chunk(LIMITS, HERE, REST, np.tile(action(0.0625), (8, 1))) is None
    assert check_chunk(LIMITS, HERE, REST, action()[None]) is None


@pytest.mark.parametrize("chunk", [np.zeros((0, 4)), np.zeros(4), np.zeros((1, 2, 4))], ids=lambda a: str(a.shape))
def test_what_is_no_chunk_is_refused(chunk: Array) -> None:
    assert check_chunk(LIMITS, HERE, REST, chunk) == (f"expected a chunk [T, 4] with T > 0, got {list(chunk.shape)}")


def test_rows_of_another_size_are_refused() -> None:
    assert check_chunk(LIMITS, HERE, REST, np.zeros((8, 7))) == "step 0 of 8: expected 4 real numbers, got float64 [7]"


@pytest.mark.parametrize("row", range(4))
def test_one_bad_number_anywhere_refuses_the_whole_chunk(row: int) -> None:
    chunk = np.zeros((4, 4))
    chunk[row, 2] = math.nan
    reason = check_chunk(LIMITS, HERE, REST, chunk)
    assert reason is not None
    assert reason.startswith(f"step {row} of 4: expected finite")


def test_the_first_row_is_judged_against_the_last_displacement() -> None:
    chunk = action(-0.125)[None]
    assert check_chunk(LIMITS, HERE, REST, chunk) is None
    reason = check_chunk(LIMITS, HERE, np.array([0.1875, 0.0, 0.0]), chunk)
    assert reason == "step 0 of 1: change of 0.3125 m, allowed 0.125 m (x 2 is clipped)"


def test_a_jerk_within_the_chunk_is_found() -> None:
    chunk = np.stack([action(0.125), action(0.25), action(-0.25)])
    reason = check_chunk(LIMITS, HERE, REST, chunk)
    assert reason == "step 2 of 3: change of 0.5 m, allowed 0.125 m (x 2 is clipped)"


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_path_may_leave_the_workspace_by_the_tolerance_and_no_more(side: float) -> None:
    """Tolerance 2 x step 0.25: the plan may end 0.5 outside, exactly."""
    here = np.array([side * 0.5, 0.0, 0.0])
    chunk = np.tile(action(side * 0.125), (8, 1))
    assert check_chunk(LIMITS, here, REST, chunk) is None
    chunk[7, 0] *= BEYOND
    chunk[7, 1] = 0.01236
    reason = check_chunk(LIMITS, here, REST, chunk)
    assert reason == f"step 7 of 8: {[side * 1.5, 0.0124, 0.0]} m is outside the workspace"


@pytest.mark.parametrize(
    ("start", "rows", "may"),
    [
        pytest.param(0.875, (0.125, 0.125, -0.25), True, id="the wall has ended the motion, which may now turn"),
        pytest.param(0.75, (0.125, 0.125, -0.25), False, id="the wall is just reached at full speed"),
        pytest.param(0.75, (0.25, 0.125, -0.25), False, id="the seam limit has kept it from the wall"),
    ],
)
def test_a_row_is_judged_by_what_the_filter_will_have_left_before_it(
    start: float, rows: tuple[float, ...], may: bool
) -> None:
    here = np.array([start, 0.0, 0.0])
    assert (check_chunk(LIMITS, here, REST, np.stack([action(x) for x in rows])) is None) == may


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_from_outside_a_path_home_may_be_started(side: float) -> None:
    here = np.array([0.0, 0.0, side * 3.0])
    assert check_chunk(LIMITS, here, REST, np.tile(action(0.0, 0.0, -side * 0.125), (8, 1))) is None
    assert check_chunk(LIMITS, here, REST, np.tile(action(0.0, 0.0, side * 0.125), (8, 1))) is not None


@settings(max_examples=150, deadline=None)
@given(here=vectors(1.2), last=vectors(0.14), rows=st.lists(vectors(0.4, size=4), min_size=1, max_size=6))
def test_no_row_of_a_chunk_that_may_be_started_is_rejected_later(here: Array, last: Array, rows: list[Array]) -> None:
    if check_chunk(LIMITS, here, last, np.array(rows)) is not None:
        return
    for row in rows:
        sent = filter_step(LIMITS, here, last, row).sent
        assert sent is not None
        last = sent[:3]
        here = here + last
