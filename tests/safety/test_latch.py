from __future__ import annotations

import os
from pathlib import Path

import pytest

from robot_rl.errors import IntegrityError
from robot_rl.safety.latch import read_latch, write_latch
from robot_rl.safety.supervisor import Supervision, raised

STOPPED = raised(raised(Supervision(), "operator_stop", "ä", 5), "robot_fault", "reflex", 6)


def test_without_a_file_nothing_is_latched(tmp_path: Path) -> None:
    assert read_latch(tmp_path / "guard.json") == Supervision()


def test_what_is_latched_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    write_latch(path, STOPPED, "a test")
    assert read_latch(path) == STOPPED
    assert "a test" in path.read_text()


def test_a_hold_is_not_latched(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    write_latch(path, raised(STOPPED, "bad_action", "", 7), "a test")
    assert read_latch(path).causes == STOPPED.causes


def test_only_the_whole_file_is_ever_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "guard.json"
    write_latch(path, STOPPED, "a test")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_latch(path, Supervision(), "cleared")
    assert read_latch(path) == STOPPED


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_damaged_file_is_refused_and_says_what_to_do(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "guard.json"
    write_latch(path, STOPPED, "a test")
    path.write_text(path.read_text()[:cut])
    with pytest.raises(IntegrityError, match="look at the robot"):
        read_latch(path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"epoch": 1, "serial": 1, "causes": [{"level": 9}]}', "null"])
def test_another_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "guard.json"
    path.write_text(text)
    with pytest.raises(IntegrityError):
        read_latch(path)
