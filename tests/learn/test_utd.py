from __future__ import annotations

import pytest

from robot_rl.learn.utd import utd_reason
from tests.learn.bandit import chunks
from tests.learn.test_learner import feed, learner


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0123, "12.3 ms"), (0.313, "313 ms"), (0.9994, "999 ms"), (0.9997, "1 s"), (1.0312, "1.03 s")],
)
def test_an_update_that_takes_long_is_said_in_seconds(seconds: float, words: str) -> None:
    """No person reads "1.03e+03 ms" beside a robot."""
    subject = learner()
    feed(subject, 1, 2)
    subject.add_episode(chunks(3, 3, subject.layout.size))  # not worked off yet
    assert utd_reason(subject, 1 / seconds, 0).startswith(f"updates take {words} each and 6 are owed")
