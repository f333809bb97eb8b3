from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.store.episode import EpisodeWriter, read_manifest, write_manifest
from robot_rl.store.pools import PoolMemory
from robot_rl.store.run import RunDirectory
from robot_rl.types import Array
from tests.store.examples import SUCCESS, header

SHAPE = (2, 3, 5)


@pytest.fixture
def memory(run: RunDirectory) -> PoolMemory:
    EpisodeWriter(run, header(1)).close(SUCCESS)
    return PoolMemory(run, "ab" * 32)


@pytest.fixture
def pool() -> Array:
    array = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    array.view(np.uint32)[0, 0, :3] = [0x7FC12345, 0x80000000, 0x00000001]
    return array


def kept_file(memory: PoolMemory) -> Path:
    (path,) = memory.run.episode(1).glob(".pool.*")
    return path


def test_what_is_kept_is_recalled_bit_for_bit(memory: PoolMemory, pool: Array) -> None:
    assert memory.recall(1, SHAPE) is None
    memory.keep(1, pool)
    got = memory.recall(1, SHAPE)
    assert got is not None
    assert (got.dtype, got.shape, got.tobytes()) == (pool.dtype, pool.shape, pool.tobytes())


def test_another_key_shape_or_recording_recalls_nothing(memory: PoolMemory, pool: Array) -> None:
    memory.keep(1, pool)
    assert memory.recall(1, (3, 2, 5)) is None
    assert PoolMemory(memory.run, "ab" * 6 + "cd" * 26).recall(1, SHAPE) is None
    assert PoolMemory(memory.run, "cd" * 32).recall(1, SHAPE) is None
    folder = memory.run.episode(1)
    write_manifest(folder, replace(read_manifest(folder), sha256="ef" * 32))
    assert memory.recall(1, SHAPE) is None


def test_every_flipped_byte_and_every_cut_recalls_nothing(memory: PoolMemory, pool: Array) -> None:
    memory.keep(1, pool)
    path = kept_file(memory)
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :])
        assert memory.recall(1, SHAPE) is None
        path.write_bytes(whole[:n])
        assert memory.recall(1, SHAPE) is None
    path.write_bytes(whole + b"x")
    assert memory.recall(1, SHAPE) is None


def test_a_link_is_not_followed_and_an_episode_that_is_gone_costs_nothing(memory: PoolMemory, pool: Array) -> None:
    memory.keep(1, pool)
    path = kept_file(memory)
    elsewhere = memory.run.path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert memory.recall(1, SHAPE) is None
    memory.keep(2, pool)
    assert memory.recall(2, SHAPE) is None
    assert not memory.run.episode(2).exists()


def test_a_disk_that_refuses_costs_the_memory_only(
    memory: PoolMemory, pool: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    memory.keep(1, pool)
    memory.keep(1, pool.astype(np.float64))
    assert not list(memory.run.episode(1).glob(".pool.*"))
