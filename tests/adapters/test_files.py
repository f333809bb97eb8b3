"""Weights and their manifests on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_rl.adapters.files import numbers, read_manifests, read_weights, remove_weights, write_weights
from robot_rl.errors import IntegrityError
from robot_rl.types import Array

ARRAYS: dict[str, Array] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1, 2], np.uint8),
    "c": np.array(3.0, np.float32),
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_weights(tmp_path, 12, ARRAYS, {"version": 12})
    arrays, manifest = read_weights(tmp_path, 12)
    assert manifest["version"] == 12
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)


def test_a_transposed_view_keeps_its_values(tmp_path: Path) -> None:
    write_weights(tmp_path, 0, {"a": ARRAYS["a"].T}, {})
    assert np.array_equal(read_weights(tmp_path, 0)[0]["a"], ARRAYS["a"].T)


def test_one_flipped_bit_is_an_integrity_error(tmp_path: Path) -> None:
    write_weights(tmp_path, 1, ARRAYS, {})
    weights = tmp_path / "000001.safetensors"
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(bytes(body))
    with pytest.raises(IntegrityError, match="sha256"):
        read_weights(tmp_path, 1)


def test_a_bit_flipped_or_a_byte_cut_anywhere_is_seen(tmp_path: Path) -> None:
    write_weights(tmp_path, 1, ARRAYS, {"version": 1, "chunks": 300, "consumed": [1, 2], "config": {"utd": 2.5}})
    arrays, manifest = read_weights(tmp_path, 1)
    for path in (tmp_path / "000001.safetensors", tmp_path / "000001.json"):
        whole = path.read_bytes()
        flipped = (whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in range(len(whole)))
        for damaged in (*flipped, *(whole[:cut] for cut in range(len(whole)))):
            path.write_bytes(damaged)
            try:
                found, said = read_weights(tmp_path, 1)
            except IntegrityError:
                continue
            assert all(np.array_equal(found[name], arrays[name]) for name in arrays)  # the whitespace of the JSON
            assert {name: said[name] for name in manifest} == manifest
        path.write_bytes(whole)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_manifest_is_an_integrity_error(tmp_path: Path, content: bytes) -> None:
    write_weights(tmp_path, 1, ARRAYS, {}).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"000001\.json"):
        read_weights(tmp_path, 1)


def test_missing_weights_are_an_integrity_error(tmp_path: Path) -> None:
    write_weights(tmp_path, 1, ARRAYS, {})
    (tmp_path / "000001.safetensors").unlink()
    with pytest.raises(IntegrityError, match="not used"):
        read_weights(tmp_path, 1)


def test_numbers_are_those_with_a_manifest(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        write_weights(tmp_path, number, ARRAYS, {})
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "000011.safetensors").write_bytes(b"a kill came before the manifest")
    remove_weights(tmp_path, 2)
    assert numbers(tmp_path) == [1, 10]
    assert not (tmp_path / "000002.safetensors").exists()


def test_what_versions_say_of_themselves_is_read_without_the_damaged_ones(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        write_weights(tmp_path, number, ARRAYS, {"version": number})
    (tmp_path / "000002.json").write_bytes(b"{")
    (tmp_path / "000001.safetensors").unlink()  # what it said is known all the same
    assert [manifest["version"] for manifest in read_manifests(tmp_path)] == [1, 3]
    assert read_manifests(tmp_path / "nothing") == []
