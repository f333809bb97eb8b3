from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from robot_rl.errors import StoreError
from robot_rl.store.remembered import remembered


class Files:
    """Three files of one number each, and how often each was read."""

    def __init__(self, folder: Path) -> None:
        self.memory = folder / ".memory"
        self.paths = {name: str(folder / name) for name in "abc"}
        for n, name in enumerate(self.paths):
            self.write(name, str(n), ago_s=3600.0)
        self.read: list[str] = []

    def write(self, name: str, text: str, ago_s: float) -> None:
        """As it would have been written so long ago."""
        Path(self.paths[name]).write_text(text)
        at_ns = time.time_ns() - round(ago_s * 1e9)
        os.utime(self.paths[name], ns=(at_ns, at_ns))

    def ask(self) -> dict[str, list[int]]:
        self.read = []
        return remembered(self.memory, self.paths, 1, self._read)

    def _read(self, name: str) -> list[int]:
        self.read.append(name)
        text = Path(self.paths[name]).read_text()
        if not text.isdigit():
            raise StoreError("damaged")
        return [int(text)]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_only_what_has_changed_is_read_again(files: Files) -> None:
    assert files.ask() == {"a": [0], "b": [1], "c": [2]}
    assert files.read == ["a", "b", "c"]
    assert (files.ask(), files.read) == ({"a": [0], "b": [1], "c": [2]}, [])
    files.write("b", "7", ago_s=1800.0)
    assert files.ask()["b"] == [7]
    assert files.read == ["b"]
    os.unlink(files.paths["c"])
    assert (files.ask(), files.read) == ({"a": [0], "b": [7]}, [])


def test_what_has_just_changed_may_change_again_at_the_same_time(files: Files) -> None:
    files.write("b", "7", ago_s=0.0)
    stamp = os.stat(files.paths["b"]).st_mtime_ns
    assert files.ask()["b"] == [7]
    files.write("b", "8", ago_s=0.0)
    os.utime(files.paths["b"], ns=(stamp, stamp))
    assert (files.ask()["b"], files.read) == ([8], ["b"])


def test_what_cannot_be_read_is_left_out_and_tried_again(files: Files) -> None:
    Path(files.paths["a"]).write_text("x")
    for _ in range(2):
        assert files.ask().keys() == {"b", "c"}
        assert "a" in files.read


def test_every_flipped_byte_of_the_memory_makes_it_anew(files: Files) -> None:
    expected = files.ask()
    whole = files.memory.read_bytes()
    for n in range(len(whole)):
        files.memory.write_bytes(whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :])
        assert (files.ask(), len(files.read)) == (expected, 3)
        assert files.memory.read_bytes() == whole


@pytest.mark.parametrize(
    "body", [b"[]", b'{"a": 3}', b'{"a": [1, 2, 3]}', b'{"a": [1, 2, 3, "4"]}', b"[" * 99999, b"{"]
)
def test_a_foreign_memory_with_a_right_sha256_is_not_used(files: Files, body: bytes) -> None:
    files.memory.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert files.ask() == {"a": [0], "b": [1], "c": [2]}
    assert len(files.read) == 3


def test_a_memory_that_is_a_link_is_not_followed(files: Files, tmp_path: Path) -> None:
    files.ask()
    elsewhere = tmp_path / "elsewhere"
    files.memory.rename(elsewhere)
    files.memory.symlink_to(elsewhere)
    files.ask()
    assert len(files.read) == 3
    assert not files.memory.is_symlink()


def test_a_disk_that_refuses_costs_the_memory_only(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    assert files.ask() == {"a": [0], "b": [1], "c": [2]}
    assert not files.memory.exists()
    assert not list(files.memory.parent.glob("*.tmp"))
