"""Which adapter versions were trained on a label that was corrected later."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from robot_rl.store.labels import LabelEvent
from robot_rl.types import LabelValue


class Version(NamedTuple):
    """What an adapter's manifest says of its training."""

    version: int
    through: int
    """The last episode that it was trained on."""
    watermark: int
    """The newest label event that its newest batch followed."""
    warmup: bool
    """Nothing was learnt yet."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A value that no longer counts, and who learnt from it."""

    episode: int
    old: LabelValue
    new: LabelValue
    author: str
    """Of the label that counts now."""
    versions: Sequence[int]
    """Adapter versions whose newest batch still had the old value; later ones go on from their weights."""


def corrections(history: Sequence[LabelEvent], versions: Sequence[Version]) -> list[Correction]:
    """Those that at least one of `versions` was trained on, by episode; `history` as `LabelLog.corrected` gives it."""
    by_episode: dict[int, list[LabelEvent]] = defaultdict(list)
    for event in history:
        by_episode[event.label.episode].append(event)
    found = []
    for episode, events in sorted(by_episode.items()):
        newest = events[-1].label
        for event, following in pairwise(events):
            if event.label.value in (newest.value, LabelValue.DISCARD):  # nothing is learnt from a discarded episode
                continue
            trained = [
                v.version
                for v in versions
                if not v.warmup and v.through >= episode and event.seq <= v.watermark < following.seq
            ]
            if trained:
                found.append(Correction(episode, event.label.value, newest.value, newest.author, trained))
    return found
