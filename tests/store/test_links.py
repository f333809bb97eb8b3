"""Symbolic links, pipes and names that are tricks: nothing outside the store is read, and nobody waits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import MANIFEST_NAME, MCAP_NAME, EpisodeWriter, read_transitions, salvage, verify
from robot_rl.store.labels import LabelLog
from robot_rl.store.overview import overview
from robot_rl.store.packed import PACKED_NAME, stored_transitions
from robot_rl.store.repair import repair
from robot_rl.store.run import RunDirectory, locate
from robot_rl.store.training import manifest_of, training_set
from robot_rl.types import Label, LabelValue
from tests.store.examples import SUCCESS, header, transition


def record_one(run: RunDirectory, number: int) -> Path:
    writer = EpisodeWriter(run, header(number))
    writer.write_transition(transition(number, 0))
    writer.close(SUCCESS)
    return run.episode(number)


@pytest.fixture
def outside(run: RunDirectory, tmp_path: Path) -> Path:
    """An episode 1 that is sound and lies outside the store."""
    return Path(shutil.move(record_one(run, 1), tmp_path / "outside"))


def link_directory(folder: Path, outside: Path) -> None:
    folder.symlink_to(outside, target_is_directory=True)


def link_recording(folder: Path, outside: Path) -> None:
    folder.mkdir()
    shutil.copy(outside / MANIFEST_NAME, folder)
    (folder / MCAP_NAME).symlink_to(outside / MCAP_NAME)


def link_manifest(folder: Path, outside: Path) -> None:
    folder.mkdir()
    shutil.copy(outside / MCAP_NAME, folder)
    (folder / MANIFEST_NAME).symlink_to(outside / MANIFEST_NAME)


LINKS = [link_directory, link_recording, link_manifest]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_is_not_followed(run: RunDirectory, outside: Path, link: Callable[[Path, Path], None]) -> None:
    link(run.episode(1), outside)
    for read in (verify, read_transitions):
        with pytest.raises(IntegrityError, match="is a symbolic link: expected the data itself; not followed"):
            read(run.episode(1))
    with pytest.raises(StoreError):
        stored_transitions(run, 1)
    log = LabelLog(run.labels)
    log.add(Label("a", 1, LabelValue.SUCCESS, "ada"))
    if link is not link_recording:
        assert training_set(run, log.current()).labelled == []
        assert overview(run.path).unreadable == 1
    log.close()


def test_a_linked_sidecar_is_made_again_and_its_target_stays_as_it_is(run: RunDirectory, tmp_path: Path) -> None:
    folder = record_one(run, 1)
    secret = tmp_path / "secret"
    secret.write_text("untouched")
    (folder / PACKED_NAME).symlink_to(secret)
    assert len(stored_transitions(run, 1)) == 1
    assert secret.read_text() == "untouched"
    assert not (folder / PACKED_NAME).is_symlink()


def test_a_linked_directory_is_not_repaired_labelled_or_salvaged_from(run: RunDirectory, outside: Path) -> None:
    run.episode(1).symlink_to(outside, target_is_directory=True)
    for attempt in (repair, locate):
        with pytest.raises(IntegrityError, match="is a symbolic link"):
            attempt(run.episode(1))
    with pytest.raises(IntegrityError, match="is a symbolic link"):
        salvage(run.episode(1) / MCAP_NAME, "/transitions")


def test_a_run_whose_episodes_lie_elsewhere_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    run.episodes.rename(tmp_path / "elsewhere")
    run.episodes.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(StoreError, match="is a symbolic link: move the whole run there"):
        RunDirectory.open(run.path)


@pytest.mark.parametrize("name", [MANIFEST_NAME, MCAP_NAME])
@pytest.mark.timeout(10)
def test_a_pipe_is_refused_and_not_waited_for(run: RunDirectory, name: str) -> None:
    folder = record_one(run, 1)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(IntegrityError, match="expected a plain file; not read"):
        verify(folder)


def test_an_episode_under_another_number_is_refused(run: RunDirectory) -> None:
    shutil.copytree(record_one(run, 1), run.episode(2))
    with pytest.raises(IntegrityError, match="its manifest is of episode 1"):
        manifest_of(run, 2)
    with pytest.raises(IntegrityError, match="its manifest is of episode 1"):
        stored_transitions(run, 2)


NAMES = st.one_of(
    st.sampled_from(["0000001", "000001 ", "٠٠٠٠٠١", "000001\n", "-00001", "9" * 200, "000001.incomplete", "+000001"]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
)


@given(NAMES)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_only_the_names_that_the_store_gives_are_episodes(run: RunDirectory, name: str) -> None:
    if name in (".", "..") or len(name.encode()) > 255:
        return
    folder = run.episodes / name
    folder.mkdir(exist_ok=True)
    try:
        closed = run.closed_episodes()
        assert [run.episode(number).name for number in closed] == [name] * len(closed)
        assert [run.partial(number).name for number in run.partial_episodes()] in ([], [name])
    finally:
        folder.rmdir()


@pytest.mark.parametrize("path", ["", ".", "episodes", "episodes/..", "episodes/notes", "episodes/000001/../../../x"])
def test_a_path_that_is_no_episode_is_refused(run: RunDirectory, path: str) -> None:
    record_one(run, 1)
    with pytest.raises(StoreError, match="expected an episode's directory"):
        locate(run.path / path)
