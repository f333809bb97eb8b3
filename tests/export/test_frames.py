"""From stamps to frames: at the recorded rate nothing changes; at another the way is the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import IntegrityError, SpecMismatch
from robot_rl.export.frames import Frames, frames_of
from robot_rl.store.episode import Image
from robot_rl.store.mcap_file import Message
from robot_rl.types import ActionSpace, Array

HZ = 20.0
PERIOD_NS = 50_000_000
BEGIN_NS = 1_795_639_683_163_736_299
"""A stamp of a clock that has run for long: too large for a float to count its nanoseconds."""
SPACE = ActionSpace("ee_delta", ("dx", "dy", "dz", "gripper"), ("m",) * 4, (-0.01,) * 3 + (0.0,), (0.01,) * 3 + (0.08,))


def steps_at(stamps_ns: Array, seed: int = 0) -> list[Message]:
    """Steps of a robot that goes exactly where it is sent."""
    rng = np.random.default_rng(seed)
    sent = np.concatenate([rng.uniform(-0.01, 0.01, (len(stamps_ns), 3)), rng.uniform(0, 0.08, (len(stamps_ns), 1))], 1)
    where = np.array([0.4, 0.0, 0.5]) + np.cumsum(sent[:, :3], 0)
    turn = 0.01 * np.arange(len(stamps_ns))
    quaternions = np.stack([np.sin(turn / 2), 0 * turn, 0 * turn, np.cos(turn / 2)], 1)
    bodies: list[dict[str, Any]] = [
        {
            "sent": sent[i].tolist(), "tcp_pose": [*where[i], *quaternions[i]], "gripper_width": float(sent[i, 3]),
            "q": rng.standard_normal(7).tolist(), "extra": {"bin_pose": [1.0 * i, 2.0], "angle": [0.5 * i]},
        }
        for i in range(len(stamps_ns))
    ]  # fmt: skip
    return [Message(BEGIN_NS + int(stamp), body) for stamp, body in zip(stamps_ns, bodies, strict=True)]


def frames(steps: list[Message], fps: float = HZ, images: dict[str, list[Image]] | None = None) -> Frames:
    return frames_of(steps, images or {}, SPACE, fps=fps, control_hz=HZ, where="episode 3")


def column(steps: list[Message], name: str) -> Array:
    return np.array([step.body[name] for step in steps])


def test_at_the_control_rate_a_frame_is_a_report_and_the_step_after_it() -> None:
    steps = steps_at(PERIOD_NS * np.arange(30))
    made = frames(steps)
    assert len(made) == 29
    np.testing.assert_array_equal(made.state[:, :3], column(steps, "tcp_pose")[:-1, :3].astype(np.float32))
    np.testing.assert_array_equal(made.state[:, 8:], column(steps, "q")[:-1].astype(np.float32))
    np.testing.assert_allclose(made.action, column(steps, "sent")[1:], atol=1e-8)
    seen = [[*step.body["extra"]["angle"], *step.body["extra"]["bin_pose"]] for step in steps[:-1]]
    np.testing.assert_array_equal(made.extra, seen)
    assert made.extra_names == ("angle.0", "bin_pose.0", "bin_pose.1")
    assert made.state_names[7:10] == ("gripper.width", "q.0", "q.1")
    assert made.state.dtype == made.action.dtype == made.extra.dtype == np.float32


@pytest.mark.parametrize("fps", [5, 10, 30, 60])
@pytest.mark.parametrize("jitter", [0, 12_000_000])
def test_at_another_rate_the_way_is_the_same(fps: int, jitter: int) -> None:
    stamps = PERIOD_NS * np.arange(41) + np.random.default_rng(1).integers(-jitter, jitter + 1, 41)
    steps = steps_at(stamps - stamps[0])
    made = frames(steps, fps)
    seconds = (stamps[-1] - stamps[0]) / 1e9
    assert len(made) == pytest.approx(seconds * fps, abs=1)
    np.testing.assert_allclose(made.action[:, :3].sum(0), column(steps, "sent")[1:, :3].sum(0), atol=1e-6)
    went = np.diff(made.state[:, :3], axis=0)
    if jitter == 0:
        np.testing.assert_allclose(made.action[:-1, :3], went, atol=1e-6)
    assert np.abs(np.linalg.norm(made.state[:, 3:7], axis=1) - 1).max() < 1e-6


def test_a_pause_holds_and_what_comes_after_it_is_not_spread_over_it() -> None:
    stamps = PERIOD_NS * np.array([0, 1, 2, 12, 13])
    steps = steps_at(stamps)
    made = frames(steps)
    assert len(made) == 13
    assert not made.action[2:11, :3].any()
    np.testing.assert_allclose(made.action[11, :3], steps[3].body["sent"][:3], atol=1e-8)


def test_the_gripper_is_asked_for_as_it_was_at_that_time() -> None:
    steps = steps_at(PERIOD_NS * np.arange(5))
    widths = frames(steps, fps=40).action[:, 3]
    np.testing.assert_array_equal(widths, np.repeat(column(steps, "sent")[1:, 3], 2).astype(np.float32))


def test_a_quaternion_whose_sign_jumps_does_not_turn_the_hand() -> None:
    steps = steps_at(PERIOD_NS * np.arange(9))
    flipped = [
        step._replace(
            body={**step.body, "tcp_pose": [*step.body["tcp_pose"][:3], *(-q for q in step.body["tcp_pose"][3:])]}
        )
        if i % 2
        else step
        for i, step in enumerate(steps)
    ]
    np.testing.assert_allclose(frames(flipped, 33).state, frames(steps, 33).state, atol=1e-7)


def test_a_frame_has_the_newest_picture_that_was_there() -> None:
    steps = steps_at(PERIOD_NS * np.arange(6))
    shots = [Image(BEGIN_NS + offset * 1_000_000, name) for offset, name in ((60, b"a"), (100, b"b"), (199, b"c"))]
    made = frames(steps, images={"front": shots, "dead": []})
    assert made.images == {"front": [b"a", b"a", b"b", b"b", b"c"]}


def broken(steps: list[Message], at: int, **changes: Any) -> list[Message]:
    return [s._replace(body={**s.body, **changes}) if i == at else s for i, s in enumerate(steps)]


def test_what_are_no_control_steps_is_refused_by_name() -> None:
    steps = steps_at(PERIOD_NS * np.arange(4))
    for wrong, words in (
        (broken(steps, 1, sent="up"), "sent in /steps: expected numbers"),
        (broken(steps, 1, sent=[0.0] * 3), "sent in /steps: expected numbers of one shape"),
        (broken(steps, 2, q=["NaN"] * 7), "q in /steps: expected finite"),
        (broken(steps, 0, extra={}), "same `extra`"),
        (broken(steps, 0, extra=None), "same `extra`"),
        ([*steps, steps[1]], "stamps of control steps that rise"),
        ([step._replace(body={**step.body, "tcp_pose": [0.0]}) for step in steps], r"expected poses \[7\]"),
    ):
        with pytest.raises(IntegrityError, match=f"episode 3.*{words}"):
            frames(wrong)
    with pytest.raises(SpecMismatch, match="ee_delta"):
        frames_of(steps, {}, replace(SPACE, kind="joint"), fps=HZ, control_hz=HZ, where="episode 3")
