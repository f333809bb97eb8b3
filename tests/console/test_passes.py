from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from robot_rl.console.installation import listed, running_consoles
from robot_rl.console.passes import LINK_S, PASS_S, Passes, link


@pytest.fixture
def passes(folder: Path) -> Passes:
    return Passes(folder)


def everything(folder: Path) -> str:
    return "".join(f"{path} {path.read_text() if path.is_file() else ''}" for path in folder.rglob("*"))


def aged(folder: Path, kind: str, by_s: float) -> None:
    """The files of one kind become older."""
    for path in (folder / kind).iterdir():
        os.utime(path, (time.time(), time.time() - by_s))


def test_a_link_is_exchanged_once_for_a_pass(passes: Passes) -> None:
    word = passes.new_link()
    granted = passes.exchange(word)
    assert granted is not None
    assert passes.known(granted)
    assert passes.exchange(word) is None
    assert not passes.known(word), "a link is no pass"
    assert passes.exchange(granted) is None, "a pass is no link"


def test_of_many_at_once_one_gets_the_pass(passes: Passes) -> None:
    word = passes.new_link()
    with ThreadPoolExecutor(16) as pool:
        granted = list(pool.map(lambda _: passes.exchange(word), range(64)))
    assert len([one for one in granted if one is not None]) == 1


def test_a_used_link_stays_used_and_a_pass_valid_for_a_console_that_is_started_again(folder: Path) -> None:
    before = Passes(folder)
    word = before.new_link()
    granted = before.exchange(word)
    after = Passes(folder)
    assert granted is not None
    assert after.known(granted)
    assert after.exchange(word) is None


@pytest.mark.parametrize("by_s", [LINK_S + 1, -LINK_S - 1])
def test_a_link_that_is_too_old_opens_nothing_and_is_forgotten(passes: Passes, folder: Path, by_s: float) -> None:
    word = passes.new_link()
    aged(folder, "links", by_s)
    assert passes.exchange(word) is None
    passes.new_link()
    assert len(list((folder / "links").iterdir())) == 1


def test_a_pass_ends(passes: Passes, folder: Path) -> None:
    granted = passes.exchange(passes.new_link()) or ""
    aged(folder, "passes", PASS_S - 60)
    assert passes.known(granted)
    aged(folder, "passes", PASS_S + 1)
    assert not passes.known(granted)


@pytest.mark.parametrize("word", ["", "x", "../passes", "\x00", "ë", "\ud800", "k" * 100_000])
def test_what_is_no_word_is_not_known(passes: Passes, word: str) -> None:
    passes.new_link()
    assert passes.exchange(word) is None
    assert not passes.known(word)


def test_no_secret_lies_on_the_disk_and_nobody_else_looks_at_the_rest(passes: Passes, folder: Path) -> None:
    word = passes.new_link()
    granted = passes.exchange(passes.new_link())
    kept = everything(folder)
    assert word not in kept
    assert str(granted) not in kept
    for path in (folder, folder / "links", folder / "passes"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_link_is_the_pages_address_with_its_word() -> None:
    assert link("https://robot.lab:8000/", "abc") == "https://robot.lab:8000/enter?token=abc"


def test_the_consoles_that_run_are_known_and_those_that_were_killed_are_not(folder: Path) -> None:
    assert running_consoles(folder) == []
    with listed(folder, "https://robot.lab:8000/"):
        (folder / "consoles" / "killed.url").write_text("https://robot.lab:8001/")
        assert running_consoles(folder) == ["https://robot.lab:8000/"]
        assert len(list((folder / "consoles").iterdir())) == 1
    assert running_consoles(folder) == []
