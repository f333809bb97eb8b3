from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store import packed as module
from robot_rl.store.episode import MCAP_NAME, EpisodeWriter, read_transitions
from robot_rl.store.packed import PACKED_NAME, read_packed, stored_transitions, write_packed
from robot_rl.store.run import RunDirectory
from robot_rl.types import Transition
from tests.store.examples import SUCCESS, header, transition
from tests.store.test_transitions import assert_same_bits


def record(run: RunDirectory, episode: int, transitions: Sequence[Transition]) -> Path:
    """The episode's sidecar, which is not there yet."""
    writer = EpisodeWriter(run, header(episode))
    for each in transitions:
        writer.write_transition(each)
    writer.close(SUCCESS)
    return run.episode(episode) / PACKED_NAME


def assert_same(got: Sequence[Transition], expected: Sequence[Transition]) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)


@pytest.fixture
def sidecar(run: RunDirectory) -> Path:
    return record(run, 7, [transition(7, index) for index in range(3)])


def test_packed_transitions_are_those_of_the_recording_bit_for_bit(run: RunDirectory, sidecar: Path) -> None:
    expected = read_transitions(run.episode(7))
    assert_same(stored_transitions(run, 7), expected)
    assert sidecar.is_file()
    got = read_packed(run.episode(7), 7, json.loads((run.episode(7) / "manifest.json").read_bytes())["sha256"])
    assert_same(got, expected)
    assert all(array.flags.writeable and array.flags.aligned for array in (got[1].features, got[1].executed_chunk))


def test_the_sidecar_is_what_is_read(run: RunDirectory, sidecar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = stored_transitions(run, 7)
    monkeypatch.setattr(module, "read_transitions", None)
    assert_same(stored_transitions(run, 7), expected)


@pytest.mark.parametrize("array", [np.array(3, np.float32), np.zeros((0, 3)), np.array([1, 2, 3], np.uint8)])
def test_arrays_of_any_shape_are_packed(run: RunDirectory, array: Any) -> None:
    expected = [replace(transition(1, index), steer=array) for index in range(2)]
    sidecar = record(run, 1, expected)
    for _ in range(2):
        assert_same(stored_transitions(run, 1), expected)
    assert sidecar.is_file()


def test_an_episode_of_unlike_transitions_or_of_none_is_read_from_its_recording(run: RunDirectory) -> None:
    for episode, expected in enumerate(([transition(1, 0), transition(1, 1, pool=0)], []), start=1):
        sidecar = record(run, episode, expected)
        assert_same(stored_transitions(run, episode), expected)
        assert not sidecar.exists()


def test_every_flipped_byte_and_every_cut_is_refused_and_the_sidecar_made_again(
    run: RunDirectory, sidecar: Path
) -> None:
    expected = stored_transitions(run, 7)
    whole = sidecar.read_bytes()
    damaged = [whole[:n] + bytes([whole[n] ^ 4]) + whole[n + 1 :] for n in range(0, len(whole), 97)]
    for data in damaged + [whole[:cut] for cut in (0, 1, 64, 65, 66, len(whole) // 2, len(whole) - 1)] + [whole + b"x"]:
        sidecar.write_bytes(data)
        assert_same(stored_transitions(run, 7), expected)
        assert sidecar.read_bytes() == whole


def test_a_sidecar_of_another_recording_is_made_again(run: RunDirectory, sidecar: Path) -> None:
    expected = stored_transitions(run, 7)
    other = record(run, 8, [transition(8, 0)])
    stored_transitions(run, 8)
    other.replace(sidecar)
    assert_same(stored_transitions(run, 7), expected)


def test_a_recording_that_was_cut_after_it_was_packed_is_refused(run: RunDirectory, sidecar: Path) -> None:
    stored_transitions(run, 7)
    recording = run.episode(7) / MCAP_NAME
    os.truncate(recording, 100)
    with pytest.raises(IntegrityError, match=r"expected .* bytes"):
        stored_transitions(run, 7)
    recording.unlink()
    with pytest.raises(StoreError, match="cannot read"):
        stored_transitions(run, 7)


def test_a_disk_that_refuses_costs_the_sidecar_only(
    run: RunDirectory, sidecar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert_same(stored_transitions(run, 7), read_transitions(run.episode(7)))
    assert sorted(path.name for path in run.episode(7).iterdir()) == ["episode.mcap", "manifest.json", "metadata.yaml"]


HOSTILE = st.sampled_from(
    [
        ("index", []),
        ("index", [0, 1]),
        ("format", 2),
        ("recording", "cd" * 32),
        ("columns", {}),
        ("episode", [8, 8, 8]),
        ("index", [0, 1, 1]),
        ("terminal", [1, 1, 1]),
        ("source", ["martian"] * 3),
        ("features", ["|O", [1]]),
        ("features", ["<f4", [2**62]]),
        ("features", ["<f4", [-1]]),
        ("features", ["<f8", [11]]),
        ("features", [["<f4"], 3]),
        ("noise", None),
    ]
)


@given(HOSTILE)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_hostile_header_with_a_right_sha256_is_refused(run: RunDirectory, change: tuple[str, Any]) -> None:
    folder = run.episodes / "hostile"
    folder.mkdir(exist_ok=True)
    assert write_packed(folder, "ab" * 32, [transition(7, index) for index in range(3)])
    _, line, arrays = (folder / PACKED_NAME).read_bytes().split(b"\n", 2)
    changed = json.loads(line)
    name, value = change
    (changed if name in changed else changed["columns"])[name] = value
    body = json.dumps(changed).encode() + b"\n" + arrays
    (folder / PACKED_NAME).write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    with pytest.raises(IntegrityError, match="it is made again"):
        read_packed(folder, 7, "ab" * 32)
