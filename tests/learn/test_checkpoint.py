"""Checkpoints on disk: the newest that verifies is gone on from, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_rl.adapters.files import numbers, read_weights, write_weights
from robot_rl.learn.checkpoint import KEPT, resume, save_checkpoint
from robot_rl.learn.learner import Learner
from tests.learn.bandit import chunks
from tests.learn.test_learner import feed, learner, same, weights

TASK = "bandit"


def taking(subject: Learner, taken: list[int]) -> None:
    for number in taken:
        subject.add_episode(chunks(number, 3, subject.layout.size))


def through(directory: Path, last: int) -> Learner:
    """A learner fed episodes 1 .. last, checkpointed after each."""
    subject = learner()
    for number in range(1, last + 1):
        feed(subject, number, number)
        save_checkpoint(directory, subject, label_watermark=number, task=TASK)
    return subject


def resumed(directory: Path) -> tuple[Learner, list[str]]:
    subject = learner()
    return subject, resume(directory, subject, TASK, lambda number: taking(subject, [number]))


def test_a_resumed_learner_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = through(tmp_path, 4)
    subject, complaints = resumed(tmp_path)
    assert not complaints
    assert subject.version == 4
    assert same(weights(subject), weights(whole))
    feed(whole, 5, 6)
    feed(subject, 5, 6)
    assert same(weights(subject), weights(whole))


def test_a_damaged_newest_checkpoint_costs_only_itself(tmp_path: Path) -> None:
    whole = through(tmp_path, 4)
    (tmp_path / "000004.safetensors").write_bytes(b"cut short by a kill")
    subject, complaints = resumed(tmp_path)
    assert subject.version == 3
    assert len(complaints) == 1
    assert "000004" in complaints[0]
    feed(subject, 4, 4)
    assert same(weights(subject), weights(whole))


@pytest.mark.parametrize("change", [{"task": "drawer"}, {"spec_hash": "ab12", "policy_id": "another"}])
def test_a_foreign_newest_checkpoint_is_refused_and_costs_only_itself(tmp_path: Path, change: dict[str, str]) -> None:
    whole = through(tmp_path, 4)
    arrays, manifest = read_weights(tmp_path, 4)
    write_weights(tmp_path, 4, arrays, {**manifest, **change})
    subject, complaints = resumed(tmp_path)
    assert subject.version == 3
    (complaint,) = complaints
    assert all(value in complaint for value in change.values())
    assert TASK in complaint
    feed(subject, 4, 4)
    assert same(weights(subject), weights(whole))


def test_without_a_checkpoint_the_learner_stays_new(tmp_path: Path) -> None:
    subject, complaints = resumed(tmp_path)
    assert not complaints
    assert subject.version == 0
    assert subject.updates == 0


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    through(tmp_path, KEPT + 2)
    assert numbers(tmp_path) == [3, 4, 5]
    assert len(list(tmp_path.iterdir())) == 2 * KEPT


def test_a_checkpoint_is_float32_and_knows_its_labels(tmp_path: Path) -> None:
    through(tmp_path, 2)
    arrays, manifest = read_weights(tmp_path, 2)
    assert manifest["label_watermark"] == 2
    assert manifest["consumed"] == [1, 2]
    assert all(array.dtype in (np.float32, np.uint8) for array in arrays.values())
