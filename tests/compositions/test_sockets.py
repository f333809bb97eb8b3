"""What a killed run leaves in the place for temporary files, and who removes it."""

from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_rl.compositions.sockets import OWNER, PREFIX, socket_folder

HOLDER = """
import time
from robot_rl.compositions.sockets import socket_folder
with socket_folder() as folder:
    (folder / "guard").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(short)


def test_a_folder_is_this_users_own_and_gone_at_the_end(place: Path) -> None:
    with socket_folder() as folder:
        assert folder.parent == place
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(place.iterdir()) == []


def test_what_a_killed_run_left_is_removed_by_the_next_and_nothing_else(place: Path) -> None:
    (place / f"{PREFIX}somebody").mkdir()  # nothing says that it is ours
    (place / "file").touch()
    (place / f"{PREFIX}link").symlink_to(place)
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().strip())
        with socket_folder() as other:
            assert left.is_dir(), "its owner lives"
            killed.kill()
            killed.wait(10)
            assert (left / OWNER).exists()
            with socket_folder() as folder:
                kept = {f"{PREFIX}somebody", "file", f"{PREFIX}link", other.name, folder.name}
                assert {path.name for path in place.iterdir()} == kept


def test_a_place_whose_path_is_too_long_for_a_socket_is_not_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = place / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with socket_folder() as folder:
        assert len(str(folder / "frames")) < 107
        assert folder.parent == Path("/tmp")
