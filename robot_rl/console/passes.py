"""Who is let in: one-time links, and the passes (cookies) that they are exchanged for.

Both are random words. On the disk is only the SHA-256 of each, as the name of an empty file: what is read there opens
nothing. Whoever removes a link's file has used the link: once, also when two try at the same time, and also across a
restart of the console. Words are compared by their digests, every one with every one, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from pathlib import Path

from robot_rl.console.installation import private

ENTRY = "/enter"
"""Where a link leads: `/enter?token=WORD`. Handled at the door, before any route; without links there is none."""
LINK_S = 600.0
"""A link that was not opened for so long opens nothing any more."""
PASS_S = 7 * 24 * 3600.0
"""A week: longer than a person sits at a robot, so that no page is locked out while one runs."""
LONGEST = 128
"""Characters of a word that is looked at."""


def link(url: str, word: str) -> str:
    """The one-time link to the page at `url`."""
    return f"{url.rstrip('/')}{ENTRY}?token={word}"


class Passes:
    """Those of one installation; in `folder`, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        """Raises `ConfigError` if the folder cannot be made."""
        private(folder)
        self._links = private(folder / "links")
        self._passes = private(folder / "passes")

    def new_link(self) -> str:
        """A word that `exchange` takes once, within `LINK_S`."""
        return _issue(self._links, LINK_S)

    def exchange(self, word: str) -> str | None:
        """A pass for a link's word; None if that is unknown, used or too old."""
        found = _find(self._links, word, LINK_S)
        if found is None:
            return None
        try:
            found.unlink()
        except FileNotFoundError:  # another one was faster
            return None
        return _issue(self._passes, PASS_S)

    def known(self, word: str) -> bool:
        """Whether `word` is a pass that is not too old."""
        return _find(self._passes, word, PASS_S) is not None


def _issue(folder: Path, lasts_s: float) -> str:
    """A new word; those that are too old are forgotten."""
    for path in folder.iterdir():
        if _age_s(path) > lasts_s:
            path.unlink(missing_ok=True)
    word = secrets.token_urlsafe(32)
    (folder / _digest(word)).touch(mode=0o600)
    return word


def _find(folder: Path, word: str, lasts_s: float) -> Path | None:
    digest = _digest(word[:LONGEST])
    same = [path for path in folder.iterdir() if hmac.compare_digest(path.name, digest)]  # all are compared
    return next((path for path in same if _age_s(path) <= lasts_s), None)


def _digest(word: str) -> str:
    return hashlib.sha256(word.encode(errors="surrogatepass")).hexdigest()


def _age_s(path: Path) -> float:
    """Seconds on the clock of the wall, for it outlives the machine's uptime; infinite for what is gone."""
    try:
        return abs(time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")
