"""Who gets to the operator's page: `robot-rl cert`, `robot-rl console`, and the link that a run prints at its start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from robot_rl.console.access import Access
from robot_rl.console.installation import installation, running_consoles
from robot_rl.console.passes import LINK_S, Passes, link
from robot_rl.errors import ConfigError

HOW = "`robot-rl console --url` prints a one-time link"


def announce_page(url: str, access: Access, console: Console) -> None:
    """The page's address; where a link is needed a fresh one, but for a person alone: other output may be kept."""
    if not access.guarded:
        say(console, f"the operator's page: {url}")
    elif console.is_terminal:
        show_link(url, console)
    else:
        say(console, f"the operator's page: {url} ({HOW})")


def show_link(url: str, console: Console) -> None:
    """A link that opens the page at `url` once."""
    word = Passes(installation()).new_link()
    minutes = f"{LINK_S / 60:.0f} minutes"
    say(console, f"the operator's page, for one browser within {minutes} (`robot-rl console --url` prints more links):")
    say(console, link(url, word))


def show_consoles(console: Console, *, links: bool) -> None:
    """The pages of this installation that need a link, with one each if asked for. Raises `ConfigError` if none run."""
    urls = running_consoles(installation())
    if not urls:
        raise ConfigError(
            "no page that needs a link runs here; `robot-rl run --host 0.0.0.0` or `--token` serves one, and one on "
            "loopback without them needs none"
        )
    for url in urls:
        show_link(url, console) if links else say(console, f"{url} ({HOW})")


def make_and_show_certificate(names: Sequence[str], replace: bool, console: Console) -> None:
    """A key and a certificate for this machine's names and addresses, and `names`. Raises `ConfigError`."""
    from robot_rl.console.certificate import CRT, make_certificate
    from robot_rl.console.machine import addresses, host_names

    folder: Path = installation()
    made = make_certificate(folder, [*host_names(), *map(str, addresses()), *names], replace=replace)
    say(console, f"key and certificate: {made.pem} (yours alone; {CRT} beside it may be given away)")
    say(console, f"for: {', '.join(made.names)}; until {made.ends:%Y-%m-%d}")
    say(console, "SHA-256, to be compared with what the other machine's browser shows when it asks for trust:")
    say(console, made.fingerprint)
    say(
        console, "a page that runs already goes on with the old one" if replace else "next: robot-rl run --host 0.0.0.0"
    )


def say(console: Console, line: str) -> None:
    """As it stands: an IPv6 address is no markup, and `:CD:` in a fingerprint no picture of a disc."""
    console.print(line, markup=False, emoji=False, soft_wrap=True)
