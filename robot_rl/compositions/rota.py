"""Whose turn it is: which episode a free worker plays next, by which adapter version, and when it enters the run.

Numbers alone. With W workers, episode n is played by the version that was trained through the newest labelled episode
up to n - 1 - W, and episodes enter the run, and so the learner, in the order of their numbers. So a version depends on
the episodes before it, and an episode on its number and its version: whoever is faster changes nothing. Nobody runs
further ahead of the learner than that either: it does its whole budget for every episode. One worker is a lockstep
run's order (`adapter_source.LAG`), in which the learner works while the next episode is played.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """An episode that is to be played."""

    episode: int
    due: int
    """The episode through which its adapter version is to have been trained; 0: on none."""


class Rota:
    """From episode number `first` on, until `planned` are labelled; `labelled` are the numbers of those before it.

    `played` are over already, and have not entered the run: a run before this one was killed in between.
    """

    def __init__(
        self, *, first: int, labelled: Sequence[int], planned: int, workers: int, played: Collection[int] = ()
    ) -> None:
        self.planned = planned
        self.playing: set[int] = set()
        self.labelled = sorted(labelled)
        """Of the episodes in the run, those that are learnt from; whoever asks for turns keeps it up to date."""
        self._workers = workers
        self._entered = first - 1
        """Every episode up to this one is in the run."""
        self._played = {number for number in played if number >= first}

    @property
    def done(self) -> bool:
        """All planned episodes are in the run."""
        return len(self.labelled) >= self.planned and not self.playing and not self._played

    def next(self, through: int) -> Turn | None:
        """The next turn, which is now being played; None: not yet, or none is wanted any more.

        `through`: the last episode that the newest published version was trained on.
        """
        number = self._entered + 1
        while number in self.playing or number in self._played:
            number += 1
        enough = len(self.labelled) + len(self.playing) + len(self._played) >= self.planned
        if enough and number > max(self._played, default=0):  # one that waits for `number` is not left behind
            return None
        known = number - 1 - self._workers
        if known > self._entered or (due := self._newest(known)) > through:
            return None
        self.playing.add(number)
        return Turn(number, due)

    def played(self, number: int) -> None:
        """It is over, and waits until it may enter the run."""
        self.playing.discard(number)
        self._played.add(number)

    def lost(self, number: int) -> None:
        """What was played of it is lost: it is to be played again, and will be what it would have been."""
        self.playing.discard(number)
        self._played.discard(number)

    def entering(self) -> int | None:
        """The episode that enters the run next, once all before it have; None: not yet."""
        number = self._entered + 1
        return number if number in self._played else None

    def entered(self, number: int) -> None:
        """`number`, which was `entering`, is in the run."""
        self._played.discard(number)
        self._entered = number

    def _newest(self, known: int) -> int:
        """The newest labelled episode up to `known`; 0: none."""
        place = bisect_right(self.labelled, known)
        return self.labelled[place - 1] if place else 0
