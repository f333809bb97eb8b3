"""RUN/compute.json: how the learner multiplies matrices, so that a resumed run goes on bit for bit (`learn.matmul`)."""

from __future__ import annotations

import os
from typing import Literal, cast, get_args

from robot_rl.errors import IntegrityError
from robot_rl.store.files import read_json, write_json
from robot_rl.store.run import RunDirectory
from robot_rl.types import canonical_hash

MatmulPath = Literal["default", "onednn"]


def write_compute(run: RunDirectory, path: MatmulPath, speedup: float, error: float) -> None:
    """What was taken, and what was measured of oneDNN. Raises `DiskError`."""
    said = {"matmul": path, "onednn_speedup": speedup, "onednn_error": error}
    write_json(run.compute_json, {**said, "checksum": canonical_hash(said)})


def read_compute(run: RunDirectory) -> MatmulPath | None:
    """What the run took, or None if it has taken nothing yet.

    Raises `IntegrityError` for a file that is damaged: to decide anew would change the run's bits without a word.
    """
    if not os.path.lexists(run.compute_json):
        return None
    what = f"{run.compute_json}: expected how this run's learner computes"
    todo = "put the file back, or delete it to have that decided anew: updates may then differ in their last bits"
    try:
        said = read_json(run.compute_json)
    except IntegrityError as error:
        raise IntegrityError(f"{what}, got a damaged file ({error}); {todo}") from error
    checksum = said.pop("checksum", canonical_hash(said))  # files from before there was one are read
    taken = said.get("matmul")
    if taken not in get_args(MatmulPath) or checksum != canonical_hash(said):
        raise IntegrityError(f"{what}, got {taken!r:.40} with another checksum or of no known kind; {todo}")
    return cast(MatmulPath, taken)
