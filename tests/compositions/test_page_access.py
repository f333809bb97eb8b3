"""What a person types and reads to get to the page from another machine."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from robot_rl.compositions.page_access import announce_page, make_and_show_certificate, say, show_consoles
from robot_rl.compositions.running import RunRequest, plan_run
from robot_rl.console.access import Access
from robot_rl.console.certificate import read_certificate
from robot_rl.console.installation import installation, listed
from robot_rl.console.passes import Passes
from robot_rl.errors import ConfigError

URL = "https://[fd00::cd:7]:8000/"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return installation()


class Screen:
    """What a console wrote."""

    def __init__(self, *, terminal: bool) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=terminal, no_color=True, highlight=False, width=80)

    @property
    def words(self) -> list[str]:
        return self.file.getvalue().split()


def opens(folder: Path, words: list[str]) -> bool:
    (shown,) = [word for word in words if "/enter?token=" in word]
    address, _, word = shown.partition("enter?token=")
    assert address == URL
    return Passes(folder).exchange(word) is not None


def test_a_page_that_needs_no_link_is_announced_as_ever(folder: Path) -> None:
    screen = Screen(terminal=False)
    announce_page("http://localhost:8000/", Access(), screen.console)
    assert screen.file.getvalue() == "the operator's page: http://localhost:8000/\n"
    assert not folder.exists()


def test_a_terminal_gets_a_link_and_a_file_is_told_how(folder: Path) -> None:
    terminal, file = Screen(terminal=True), Screen(terminal=False)
    for screen in (terminal, file):
        announce_page(URL, Access("::"), screen.console)
    assert opens(folder, terminal.words)
    assert "token" not in file.file.getvalue()
    assert URL in file.words
    assert "console --url" in file.file.getvalue()


def test_the_pages_that_run_are_shown_with_a_link_if_that_is_asked_for(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no page that needs a link runs here"):
        show_consoles(Console(), links=True)
    listing, asking = Screen(terminal=False), Screen(terminal=False)
    with listed(folder, URL):
        show_consoles(listing.console, links=False)
        show_consoles(asking.console, links=True)
    assert "token" not in listing.file.getvalue()
    assert URL in listing.words
    assert opens(folder, asking.words)


def test_the_certificate_stands_for_this_machine_and_its_fingerprint_is_shown(folder: Path) -> None:
    screen = Screen(terminal=False)
    make_and_show_certificate(["robot.lab"], False, screen.console)
    made = read_certificate(folder)
    assert {"localhost", "127.0.0.1", "robot.lab"} <= set(made.names)
    assert made.fingerprint in screen.words
    with pytest.raises(ConfigError, match="--replace"):
        make_and_show_certificate([], False, screen.console)


def test_what_is_shown_is_what_it_is() -> None:
    screen = Screen(terminal=False)
    say(screen.console, "AB:CD:12 [fd00::2] [link]")
    assert screen.file.getvalue() == "AB:CD:12 [fd00::2] [link]\n"


def test_a_run_without_a_certificate_is_refused_before_it_makes_anything(folder: Path, tmp_path: Path) -> None:
    request = RunRequest(out=tmp_path / "run", console_port=0, access=Access("0.0.0.0"))
    with pytest.raises(ConfigError, match="`robot-rl cert` makes one"):
        plan_run(request, Console())
    assert not (tmp_path / "run").exists()
