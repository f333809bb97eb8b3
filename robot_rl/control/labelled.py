"""What the label log says of the closed episodes, as a session needs it: kept up to date without asking for it all."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from robot_rl.control.ports import EpisodeSummary, LabelBook, LabelEvent
from robot_rl.types import Label, LabelValue


class Labelled:
    """Values and corrections by episode. Raises what the store raises; then nothing has changed.

    What was discarded or cut off does not count, whatever its label; with `cut_off_counts` what was cut off does.
    """

    def __init__(self, book: LabelBook, *, cut_off_counts: bool) -> None:
        self._book, self._every = book, cut_off_counts
        self._accepted: set[str] = set()
        self.read()

    def read(self) -> Sequence[EpisodeSummary]:
        """The list as the log has it."""
        rows = self._book.episodes()
        self.values: dict[int, LabelValue] = {row.episode: row.label for row in rows if row.label is not None}
        self.cut_off: set[int] = {row.episode for row in rows if not row.complete}
        self.corrected: set[int] = {row.episode for row in rows if row.corrected}
        """Those with an earlier label, which an undo gives again."""
        return rows

    @property
    def counting(self) -> int:
        """Episodes that are labelled success or failure."""
        return sum(map(self.counts, self.values))

    def counts(self, episode: int) -> bool:
        """It is one of them."""
        verdict = self.values.get(episode, LabelValue.DISCARD) is not LabelValue.DISCARD
        return verdict and (self._every or episode not in self.cut_off)

    def posted(self, label: Label) -> LabelEvent | None:
        """The event of a label that was stored here before, sent once more; None for a new one."""
        return self._book.add_label(label) if label.event_id in self._accepted else None

    def add(self, label: Label, expected_revision: int | None) -> LabelEvent:
        event = self._took(self._book.add_label(label, expected_revision))
        self._accepted.add(label.event_id)
        return event

    def undo(self, episode: int, author: str) -> LabelEvent:
        return self._took(self._book.undo_label(episode, author, uuid.uuid4().hex))

    def _took(self, event: LabelEvent) -> LabelEvent:
        if event.label.episode in self.values:
            self.corrected.add(event.label.episode)
        self.values[event.label.episode] = event.label.value
        return event
