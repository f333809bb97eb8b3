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

EPISODES = 3
SEED = 7


def kill_in_the_middle(realtime: RealtimeRun, name: str) -> set[int]:
    """Kill -9 at a random moment of the first episodes; the episodes that were labelled just before it."""
    wait_for(realtime.begun, "the first episode")
    time.sleep(random.Random(f"{SEED}-{name}").uniform(0.2, 4.0))
    acknowledged = set(labels(realtime.run))
    realtime.kill(name)
    return acknowledged


def check_finished(run: RunDirectory) -> None:
    """As many episodes as planned are labelled, all of them can be trained on, and the adapter knows them."""
    trained = labelled_episodes(run)
    assert len(trained) == EPISODES
    assert all(read_transitions(run.episode(episode)) for episode, _ in trained)
    assert max(numbers(run.adapters)) == EPISODES


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["guard", "store"])  # the actor: tests/compositions/test_realtime.py
def test_a_run_that_lost_a_process_it_needs_ends_in_order_and_is_resumed(tmp_path: Path, name: str) -> None:
    run = short_run(tmp_path)
    with started(run, EPISODES) as realtime:
        wait_for(realtime.begun, "the first episode")
        children = realtime.pids()
        acknowledged = kill_in_the_middle(realtime, name)
        status, output = realtime.finish(20)
        assert status == 2, output
        assert f"{name} ended with status -9" in output
        assert f"robot-rl run --resume {run.path}" in output
        wait_for(lambda: not any(alive(pid) for pid in children.values()), "the children's end", 10)
    kept = labels(run)
    assert acknowledged <= set(kept)
    with started(run, EPISODES) as resumed:
        status, output = resumed.finish(60)
    assert status == 0, output
    assert labels(run).items() >= kept.items()
    check_finished(run)


@pytest.mark.timeout(60)
def test_a_learner_that_was_killed_is_started_again(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    with started(run, EPISODES) as realtime:
        wait_for(realtime.begun, "the first episode")
        before = realtime.pids()["learner"]
        acknowledged = kill_in_the_middle(realtime, "learner")
        wait_for(lambda: realtime.pids().get("learner", before) != before, "a new learner")
        status, output = realtime.finish(45)
    assert status == 0, output
    assert acknowledged <= set(labels(run))
    check_finished(run)


@pytest.mark.timeout(60)
def test_a_page_that_was_killed_comes_back_at_the_same_address(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    with started(run, EPISODES, "--page") as realtime:
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
    check_finished(run)


def address(run: RunDirectory) -> str:
    """What the console has said of itself last, or nothing yet."""
    return (run.path / "logs" / "console.log").read_text().rpartition(" ")[2].strip()
