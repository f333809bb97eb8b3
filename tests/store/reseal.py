"""A manifest made to fit a recording that a test has changed, so that the next check is what refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from robot_rl.store.episode import MCAP_NAME, read_manifest, write_manifest
from robot_rl.store.files import sha256_file


def reseal(folder: Path, counts: Mapping[str, int]) -> None:
    """Size and sha256 as they are now, and `counts`."""
    size, sha256 = (folder / MCAP_NAME).stat().st_size, sha256_file(folder / MCAP_NAME)
    write_manifest(folder, replace(read_manifest(folder), counts=counts, bytes=size, sha256=sha256))
