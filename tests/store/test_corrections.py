from __future__ import annotations

from robot_rl.store.corrections import Correction, Version, corrections
from robot_rl.store.labels import LabelEvent
from robot_rl.types import Label, LabelValue

S, F, D = LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.DISCARD


def event(seq: int, episode: int, value: LabelValue, author: str = "ada") -> LabelEvent:
    return LabelEvent(seq, Label(f"e{seq}", episode, value, author), 0)


def version(number: int, watermark: int | None = None, warmup: bool = False) -> Version:
    """Trained on as many episodes, each with a label."""
    return Version(number, number, number if watermark is None else watermark, warmup)


def test_the_versions_between_label_and_correction_are_named() -> None:
    history = [event(2, 2, S), event(6, 2, F, "bob")]
    versions = [version(n) for n in (1, 2, 3, 4, 5)] + [version(6, 7), version(7, 8)]
    assert corrections(history, versions) == [Correction(2, S, F, "bob", [2, 3, 4, 5])]


def test_a_value_that_counts_again_was_not_wrong() -> None:
    history = [event(1, 1, S), event(3, 1, F), event(5, 1, S)]
    versions = [version(1, 1), version(2, 2), version(3, 4), version(4, 6)]
    assert corrections(history, versions) == [Correction(1, F, S, "ada", [3])]


def test_of_what_was_discarded_at_first_nothing_was_learnt() -> None:
    history = [event(1, 1, D), event(3, 1, S), event(4, 2, F), event(6, 2, D)]
    versions = [version(1, 2), version(2, 5)]
    assert corrections(history, versions) == [Correction(2, F, D, "ada", [2])]


def test_a_version_that_did_not_know_the_episode_or_learnt_nothing_is_not_named() -> None:
    history = [event(1, 3, S), event(9, 3, F)]
    assert corrections(history, [version(2, 4), version(3, 5, warmup=True)]) == []


def test_the_same_value_by_another_is_no_correction() -> None:
    assert corrections([event(1, 1, S), event(2, 1, S, "bob")], [version(1, 1)]) == []
