"""A disk that fails, tears or ends with the n-th operation of a checkpoint, for every n: old or new, never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.adapters.files import numbers, read_weights, write_weights
from robot_rl.errors import DiskError
from robot_rl.learn.checkpoint import KEPT, save_checkpoint
from robot_rl.learn.learner import Learner
from tests.faults.disk import Disk, Killed, Mode, failing
from tests.learn.test_checkpoint import TASK, resumed, through
from tests.learn.test_learner import feed, same, weights

SAVED = KEPT + 1
"""Checkpoints before the one that fails: with it the oldest are removed, so that removals are among the operations."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Learner]:
    """Version -> a learner that has got that far without any fault."""
    folder = tmp_path_factory.mktemp("reference")
    found = {}
    for version in (SAVED, SAVED + 1):
        (folder / str(version)).mkdir()
        found[version] = through(folder / str(version), version)
    return found


def attempt(folder: Path, disk: Disk) -> tuple[Learner, bool]:
    """Save one checkpoint more on `disk`; the learner, and whether the save said that it was done."""
    subject = through(folder, SAVED)
    feed(subject, SAVED + 1, SAVED + 1)
    try:
        with failing(disk):
            save_checkpoint(folder, subject, SAVED + 1, TASK)
    except (DiskError, Killed):
        return subject, False
    return subject, True


@pytest.mark.parametrize("mode", ["full", "torn", "killed"])
def test_a_checkpoint_is_old_or_new(tmp_path: Path, reference: dict[int, Learner], mode: Mode) -> None:
    nth, versions = 0, set()
    while True:
        nth += 1
        folder = tmp_path / str(nth)
        folder.mkdir()
        subject, done = attempt(folder, disk := Disk(folder, nth, mode))
        if not disk.failed:
            break
        after, complaints = resumed(folder)
        assert not complaints, f"operation {nth}: {complaints}"
        assert after.version in reference, f"operation {nth}"
        assert same(weights(after), weights(reference[after.version])), f"operation {nth}"
        assert after.version == SAVED + 1 or not done, f"operation {nth}: it was said to be saved"
        assert all(read_weights(folder, number) for number in numbers(folder))
        versions.add(after.version)
        if mode != "killed":  # the learner lives on, with its state in memory, and tries again
            save_checkpoint(folder, subject, SAVED + 1, TASK)
            assert resumed(folder)[0].version == SAVED + 1
    assert done
    assert versions == {SAVED, SAVED + 1}
    assert nth - 1 == 12, "two files of five operations, two removals"


@pytest.mark.parametrize("mode", ["full", "torn", "killed"])
def test_an_adapter_version_is_there_whole_or_not_at_all(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "learner").mkdir()
    arrays = through(tmp_path / "learner", 1).actor_arrays()
    nth = 0
    while True:
        nth += 1
        folder = tmp_path / str(nth)
        folder.mkdir()
        write_weights(folder, 1, arrays, {"version": 1})
        try:
            with failing(Disk(folder, nth, mode)) as disk:
                write_weights(folder, 2, arrays, {"version": 2})
        except (DiskError, Killed):
            pass
        if not disk.failed:
            break
        assert numbers(folder) in ([1], [1, 2])
        assert all(read_weights(folder, number)[1]["version"] == number for number in numbers(folder))
    assert nth - 1 == 10, "two files of five operations"
