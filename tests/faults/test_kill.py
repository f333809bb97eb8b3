"""Kill -9 of any one process of a real-time run, at a random moment: nothing that was labelled is lost."""

from __future__ import annotations

import random
import time
import urllib.request
from pathlib import Path

import pytest

from robot_rl.adapters.files import numbers
from robot_rl.store.episode import read_transitions
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from tests.realtime_run import RealtimeRun, alive, labels, short_run, started, wait_for

ENDLESS = 1000
SEED = 7


def kill_in_the_middle(realtime: RealtimeRun, name: str) -> None:
    """Kill -9 at a random moment after an episode has begun; what was labelled just before it stays so."""
    wait_for(realtime.run.partial_episodes, "an open episode")
    time.sleep(random.Random(f"{SEED}-{name}").uniform(0.2, 3.0))
    acknowledged = labels(realtime.run)
    realtime.kill(name)
    assert labels(realtime.run).items() >= acknowledged.items()


def check_finished(run: RunDirectory, episodes: int) -> None:
    """As many episodes as planned are labelled, all of them can be trained on, and the adapter knows them."""
    trained = labelled_episodes(run)
    assert len(trained) == episodes
    assert all(read_transitions(run.episode(episode)) for episode, _ in trained)
    assert max(numbers(run.adapters)) == episodes


# The actor: tests/compositions/test_realtime.py; the learner, and twenty more of all: tests/test_end_to_end.py.
@pytest.mark.timeout(120)
def test_a_run_that_lost_a_process_it_needs_ends_in_order_and_is_resumed(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    for name in ("guard", "store"):
        with started(run, ENDLESS) as realtime:
            wait_for(lambda: "learner" in realtime.pids(), "all processes")
            kill_in_the_middle(realtime, name)
            children = realtime.pids()
            status, output = realtime.finish(20)
            assert status == 2, output
            assert f"{name} ended with status -9" in output
            assert f"robot-rl run --resume {run.path}" in output
        assert not any(alive(pid) for pid in children.values())
    kept = labels(run)
    with started(run, len(kept) + 1) as resumed:
        status, output = resumed.finish(60)
    assert status == 0, output
    assert labels(run).items() >= kept.items()
    check_finished(run, len(kept) + 1)


@pytest.mark.timeout(60)
def test_a_page_that_was_killed_comes_back_at_the_same_address(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    with started(run, 2, "--page") as realtime:
        wait_for(realtime.begun, "the first episode")
        page = wait_for(lambda: address(run), "the page")
        kill_in_the_middle(realtime, "console")
        (run.path / "logs" / "console.log").write_text("")
        assert wait_for(lambda: address(run), "the page again") == page
        with urllib.request.urlopen(f"{page}api/snapshot", timeout=5) as answer:
            assert answer.status == 200
        status, output = realtime.finish(45)
    assert status == 0, output
    assert page in output
    check_finished(run, 2)


def address(run: RunDirectory) -> str:
    """What the console has said of itself last, or nothing yet."""
    return (run.path / "logs" / "console.log").read_text().rpartition(" ")[2].strip()
