"""Words that came out of a file, for the terminal."""

from __future__ import annotations

from rich.text import Text


def plain(words: str) -> Text:
    """No markup, and no control character reaches the terminal."""
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words))
