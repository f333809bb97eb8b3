from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from robot_rl.store.episode import MANIFEST_NAME, EndedBy
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.store.training import first_free_episode, labelled_episodes, training_set
from robot_rl.types import Label, LabelValue
from tests.store.examples import header, outcome

S, F, D = LabelValue.SUCCESS, LabelValue.FAILURE, LabelValue.DISCARD


@pytest.fixture
def store(run: RunDirectory) -> Iterator[Store]:
    store = Store(run)
    yield store
    store.close()


def add(store: Store, episode: int, ended_by: EndedBy, value: LabelValue | None, complete: bool = True) -> None:
    store.begin(header(episode))
    store.end(outcome(ended_by, complete))
    if value is not None:
        store.add_label(Label(f"e{episode}", episode, value, "ada"))


def test_only_clean_labelled_episodes_are_trained_on_and_the_others_say_why(store: Store) -> None:
    add(store, 3, "success", S)
    add(store, 1, "timeout", F)
    add(store, 2, "operator", F)
    add(store, 4, "success", None)
    add(store, 5, "failure", D)
    add(store, 6, "fault", F)
    add(store, 7, "aborted", F, complete=False)
    add(store, 8, "success", S)
    path = store.run.episode(8) / MANIFEST_NAME
    path.write_bytes(path.read_bytes()[:-20])
    assert labelled_episodes(store.run) == [(1, F), (2, F), (3, S)]
    log = LabelLog(store.run.labels)
    left_out = training_set(store.run, log.current()).left_out
    log.close()
    assert set(left_out) == {5, 6, 7, 8}
    assert left_out[5] == "discarded by its label"
    assert left_out[6] == "ended by a robot fault"
    assert left_out[7] == "incomplete, ended by aborted"
    assert "not JSON" in left_out[8]


def test_a_corrected_label_changes_the_next_view(store: Store) -> None:
    add(store, 1, "success", S)
    assert labelled_episodes(store.run) == [(1, S)]
    store.add_label(Label("c", 1, F, "ada"))
    assert labelled_episodes(store.run) == [(1, F)]
    store.add_label(Label("d", 1, D, "ada"))
    assert labelled_episodes(store.run) == []


def test_a_label_of_an_episode_that_is_not_there_is_left_out(run: RunDirectory) -> None:
    log = LabelLog(run.labels)
    log.add(Label("a", 9, S, "ada"))
    chosen = training_set(run, log.current())
    log.close()
    assert chosen.labelled == []
    assert "episode 9 is not closed" in chosen.left_out[9]


def test_a_number_that_was_ever_used_is_not_used_again(store: Store, run: RunDirectory) -> None:
    """An old label would sit on the new episode."""
    assert first_free_episode(run) == 1
    for episode in (1, 2, 3):
        add(store, episode, "success", S)
    shutil.rmtree(run.episode(3))
    assert first_free_episode(run) == 4
