"""What several benchmarks take from the command line."""

from __future__ import annotations

import argparse

MOST = 1_000_000


def count(text: str) -> int:
    """From 1 to `MOST`."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MOST}, got {text}")
    return int(text)
