"""Disk space kept back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from robot_rl.errors import DiskError
from robot_rl.store.reserve import Reserve


def test_what_is_kept_back_is_really_allocated_and_given_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / ".reserve", 1 << 20)
    reserve.take()
    assert os.stat(tmp_path / ".reserve").st_blocks * 512 >= 1 << 20
    reserve.take()
    assert reserve.held
    reserve.release()
    reserve.release()
    assert not reserve.held
    assert not any(tmp_path.iterdir())


def test_a_full_disk_is_said_with_what_there_is_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(DiskError, match=rf"expected 16 MiB .* there are .*free space on {tmp_path}, then run"):
        Reserve(tmp_path / ".reserve").take()
    assert not any(tmp_path.iterdir())
