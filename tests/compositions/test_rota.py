"""The order of many workers' episodes: it is the same whoever is faster, and nobody runs ahead of the learner."""

from __future__ import annotations

import random

import pytest

from robot_rl.compositions.adapter_source import LAG
from robot_rl.compositions.rota import Rota, Turn

FAR = 10**6
"""A learner that has always learnt everything."""


def rota(workers: int, *, planned: int = 100, first: int = 1, labelled: tuple[int, ...] = (), **more: object) -> Rota:
    return Rota(first=first, labelled=labelled, planned=planned, workers=workers, **more)  # type: ignore[arg-type]


def enter(subject: Rota, faults: frozenset[int] = frozenset()) -> list[int]:
    """All that may enter the run now; those in `faults` get no label."""
    found = []
    while (number := subject.entering()) is not None:
        subject.entered(number)
        found.append(number)
        subject.labelled += [] if number in faults else [number]
    return found


def play(workers: int, planned: int, rng: random.Random, faults: frozenset[int] = frozenset()) -> dict[int, int]:
    """Episode -> the one its version was trained through, of a whole run of workers as fast as chance, who die."""
    subject, given, through, labelled = rota(workers, planned=planned), {}, 0, [0]
    while not subject.done:
        move = rng.choice(("ask", "finish", "learn", "die"))
        if move == "ask" and len(subject.playing) < workers and (turn := subject.next(through)):
            assert given.setdefault(turn.episode, turn.due) == turn.due
        elif move == "finish" and subject.playing:
            subject.played(rng.choice(sorted(subject.playing)))
            labelled += [number for number in enter(subject, faults) if number not in faults]
        elif move == "die" and subject.playing and rng.random() < 0.2:
            subject.lost(rng.choice(sorted(subject.playing)))
        elif move == "learn":
            through = next((number for number in labelled if number > through), through)
    assert len(subject.labelled) == planned
    return given


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_whoever_is_faster_or_dies_changes_nothing(workers: int) -> None:
    faults = frozenset({4, 9})
    first = play(workers, 12, random.Random(0), faults)
    assert sorted(first) == list(range(1, 15)), "two more for the two that ended as faults"
    assert {n: due for n, due in first.items() if n > workers} == {
        n: max(k for k in range(n - workers) if k not in faults) for n in first if n > workers
    }
    for seed in range(1, 20):
        assert play(workers, 12, random.Random(seed), faults) == first


def test_one_worker_is_a_lockstep_runs_order() -> None:
    given = play(1, 8, random.Random(0))
    assert given == {n: max(0, n - 1 - LAG) for n in range(1, 9)}


def test_a_turn_waits_for_the_version_that_is_due() -> None:
    subject = rota(1)
    for number in (1, 2):
        assert subject.next(0) == Turn(number, 0)
        subject.played(number)
        enter(subject)
    assert subject.next(0) is None
    assert subject.next(1) == Turn(3, 1)


def test_an_episode_waits_for_all_before_it_to_enter() -> None:
    subject = rota(2)
    assert [subject.next(FAR), subject.next(FAR), subject.next(FAR)] == [Turn(1, 0), Turn(2, 0), Turn(3, 0)]
    assert subject.next(FAR) is None, "its version is to know episode 1, which is being played"
    subject.played(2)
    assert enter(subject) == []
    subject.played(1)
    assert enter(subject) == [1, 2]
    assert subject.next(FAR) == Turn(4, 1)


def test_a_lost_episode_is_played_again_before_all_others() -> None:
    subject = rota(2, planned=4)
    first, second = subject.next(FAR), subject.next(FAR)
    subject.lost(1)
    subject.played(2)
    assert enter(subject) == []
    assert subject.next(FAR) == first == Turn(1, 0)
    subject.played(1)
    subject.lost(2)  # it was damaged
    assert enter(subject) == [1]
    assert subject.next(FAR) == second
    subject.played(2)
    assert enter(subject) == [2]
    assert subject.next(FAR) == Turn(3, 0)


def test_nobody_waits_for_the_version_of_a_label_that_was_taken_back() -> None:
    subject = rota(1, first=4, labelled=(1, 2, 3), planned=4)
    assert subject.next(1) is None, "version 2 is due, and the learner knows 1"
    subject.labelled = [1, 3]
    assert subject.next(1) == Turn(4, 1)
    subject.played(4)
    assert enter(subject) == [4]
    assert subject.next(FAR) == Turn(5, 3), "one more, in its place"


def test_no_more_are_played_than_are_wanted() -> None:
    subject = rota(4, planned=2)
    assert [subject.next(FAR) for _ in range(3)] == [Turn(1, 0), Turn(2, 0), None]


def test_it_goes_on_behind_what_there_is_and_takes_what_was_played() -> None:
    subject = rota(2, first=6, labelled=(1, 2, 4, 5), planned=7, played={7, 3})
    assert subject.entering() is None, "6 is missing"
    assert subject.next(FAR) == Turn(6, 2), "3 has no label"
    subject.played(6)
    assert enter(subject) == [6, 7]
    assert subject.next(FAR) == Turn(8, 5)
    subject.played(8)
    enter(subject)
    assert subject.done


def test_fewer_may_be_wanted_than_were_played() -> None:
    subject = rota(2, first=6, labelled=(1, 2, 3, 4, 5), planned=6, played={7})
    assert subject.next(FAR) == Turn(6, 3), "7 waits for it"
    assert subject.next(FAR) is None
    subject.played(6)
    assert enter(subject) == [6, 7]
    assert subject.done


def test_a_run_that_has_all_is_done() -> None:
    assert rota(2, planned=2, first=3, labelled=(1, 2)).done
