"""`benchmarks.kill_loop` at twenty kills: begun with the first test that measures time, looked at after all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kill_loop import MOST_LOST_S, TURNS
from tests.commands import figures_of
from tests.scenarios import KILLS, LIMIT_S, Scenarios, kill_loop

pytestmark = pytest.mark.timeout(LIMIT_S)


def test_twenty_kills_lose_no_label_no_closed_episode_and_a_second_of_the_open_one_at_most(
    measured_scenarios: Scenarios, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    again = getattr(request.node, "execution_count", 1) > 1
    figures = figures_of(kill_loop(tmp_path) if again else measured_scenarios["kill_loop"])
    print(figures)
    assert figures["kills"] == dict.fromkeys(TURNS, KILLS // len(TURNS))
    assert (figures["lost"]["labels"], figures["lost"]["episodes"]) == (0, 0)
    assert figures["lost"]["open_s"] <= MOST_LOST_S
    assert figures["open_episodes"] > 0
    assert figures["labels"] > 0
    assert figures["set_aside"] > 0
