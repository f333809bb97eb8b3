"""`python -m benchmarks.kill_loop`, as CI runs it."""

from __future__ import annotations

import pytest

from benchmarks.kill_loop import MOST_LOST_S, TURNS
from tests.commands import figures_of, module

KILLS = 20
LIMIT_S = 300.0


@pytest.mark.timeout(LIMIT_S + 30.0)
def test_twenty_kills_lose_no_label_no_closed_episode_and_a_second_of_the_open_one_at_most() -> None:
    figures = figures_of(module("benchmarks.kill_loop", "--kills", str(KILLS), timeout_s=LIMIT_S))
    print(figures)
    assert figures["kills"] == dict.fromkeys(TURNS, KILLS // len(TURNS))
    assert (figures["lost"]["labels"], figures["lost"]["episodes"]) == (0, 0)
    assert 0 < figures["lost"]["open_s"] <= MOST_LOST_S
    assert figures["labels"] > 0
    assert figures["set_aside"] > 0
