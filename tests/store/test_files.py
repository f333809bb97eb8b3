from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store import files
from robot_rl.store.files import atomic_write, read_json, sha256_file, write_json


def test_atomic_write_makes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "adapter.json"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["sync_file", "replace"])
def test_a_refusing_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "adapter.json"
    atomic_write(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((files, "sync_file") if step == "sync_file" else (os, "replace")), refuse)
    with pytest.raises(StoreError, match=r"No space left.*what was there is intact"):
        atomic_write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_synced_is_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a small file, which Python would keep in its buffer until it is closed."""
    synced: list[int] = []
    monkeypatch.setattr(files, "sync_file", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    atomic_write(tmp_path / "small", b"twelve bytes")
    assert synced[0] == 12


def test_the_bytes_are_synced_before_the_rename_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        order.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def spy_replace(old: Path, new: Path) -> None:
        order.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    atomic_write(tmp_path / "x", b"1")
    assert order == ["file", "rename", "directory"]


def test_kill_9_at_any_moment_leaves_old_or_new(tmp_path: Path) -> None:
    path, size = tmp_path / "checkpoint", 1 << 20
    code = (
        "import sys; from pathlib import Path; from robot_rl.store.files import atomic_write\n"
        f"n = 0\nwhile True: n += 1; atomic_write(Path(sys.argv[1]), bytes([n % 256]) * {size})"
    )
    for delay in (0.01, 0.033, 0.071):
        with subprocess.Popen([sys.executable, "-c", code, str(path)]) as writer:
            deadline = time.monotonic() + 15
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(delay)
            writer.kill()
        content = path.read_bytes()
        assert content == content[:1] * size
        path.unlink()


@pytest.mark.parametrize(
    ("data", "words"), [(b"{", "not JSON"), (b"[1]", "expected a JSON object"), (b"[" * 100_000, "not JSON")]
)
def test_read_json_refuses_what_is_no_object(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=words):
        read_json(path)


def test_read_json_refuses_a_huge_file_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(files.JSON_LIMIT + 1)
    with pytest.raises(IntegrityError, match="at most"):
        read_json(path)


def test_json_round_trip_and_missing_file(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, 2.5, None]})
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None]}
    with pytest.raises(StoreError, match="cannot read"):
        read_json(tmp_path / "y.json")
    with pytest.raises(StoreError, match="expected what JSON can hold"):
        write_json(tmp_path / "x.json", {"a": float("nan")})


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x").startswith("ba7816bf8f01cfea")
