"""Weights on disk: safetensors beside a JSON manifest that carries their sha256 and its own checksum; numpy only.

The weights are renamed into place before the manifest is, so a manifest always speaks of a file that was complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from robot_rl.errors import IntegrityError
from robot_rl.store.files import atomic_write
from robot_rl.types import Array, canonical_hash


def write_weights(directory: Path, number: int, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> Path:
    """Write `directory`/000012.safetensors, then 000012.json; returns the latter's path."""
    body = save({name: np.array(array, order="C") for name, array in arrays.items()})
    weights, path = _paths(directory, number)
    atomic_write(weights, body)
    described = {**manifest, "sha256": hashlib.sha256(body).hexdigest()}
    atomic_write(path, json.dumps({**described, "checksum": canonical_hash(described)}, indent=1).encode())
    return path


def read_weights(directory: Path, number: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, manifest). Raises `IntegrityError` when a file is missing, cut short or not what its manifest says."""
    weights, path = _paths(directory, number)
    manifest = _read_manifest(path)
    try:
        checksum = manifest.pop("checksum", None)  # versions before 0.2 wrote none
        if checksum not in (None, canonical_hash(manifest)):
            raise IntegrityError(f"{path}: its checksum is not that of its content; not used")
        body = weights.read_bytes()
        found = hashlib.sha256(body).hexdigest()
        if found != manifest["sha256"]:
            raise IntegrityError(f"{weights}: expected sha256 {manifest['sha256']}, got {found}; not used")
        return load(body), manifest
    except (OSError, SafetensorError, ValueError, TypeError, RecursionError, MemoryError, OverflowError) as error:
        raise IntegrityError(f"{weights}: no weights that can be read: {error!r:.120}; not used") from error


def numbers(directory: Path) -> list[int]:
    """The numbers that have a manifest in `directory`, ascending."""
    return sorted(int(path.stem) for path in directory.glob("*.json") if path.stem.isdigit())


def read_manifests(directory: Path) -> list[dict[str, Any]]:
    """What every version says of itself, ascending; one that cannot be read is left out."""
    found = []
    for number in numbers(directory):
        with suppress(IntegrityError):
            found.append(_read_manifest(_paths(directory, number)[1]))
    return found


def remove_weights(directory: Path, number: int) -> None:
    """Delete a pair, the manifest first."""
    weights, path = _paths(directory, number)
    path.unlink(missing_ok=True)
    weights.unlink(missing_ok=True)


def _paths(directory: Path, number: int) -> tuple[Path, Path]:
    return directory / f"{number:06d}.safetensors", directory / f"{number:06d}.json"


def _read_manifest(path: Path) -> dict[str, Any]:
    """Raises `IntegrityError`, whatever the file holds."""
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: expected a manifest and its weights, got: {error}; not used") from error
    if not isinstance(manifest, dict) or "sha256" not in manifest:
        raise IntegrityError(f"{path}: expected a JSON object with a sha256; not used")
    return manifest
