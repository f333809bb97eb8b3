"""What must lie in a run's directory beside its episodes and labels, and what must hold of each: `verify` goes by this.

A file that a run has had since some moment must not be missing after it: the golden observation and the guard's latch
since the robot was first moved, what the learner says of itself since it wrote a checkpoint.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from robot_rl.adapters.files import read_weights
from robot_rl.compositions.plan import policy_of, task_of
from robot_rl.compositions.transfer import require_begun
from robot_rl.errors import IntegrityError, RobotRLError, StoreError
from robot_rl.safety.latch import read_latch
from robot_rl.store.check import Finding
from robot_rl.store.compute import read_compute
from robot_rl.store.files import read_json
from robot_rl.store.golden import read_golden
from robot_rl.store.ros import STEPS
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import manifest_of

Found = TypeVar("Found")


def check_files(run: RunDirectory) -> list[Finding]:
    """What a resumed run would not start with, or would silently do without; one hides none of the others."""
    info, found = run.read_info(), _links(run)
    moved, learnt = _robot_moved(run), max(_numbers(run.checkpoints, ".json"), default=0) > info.began_with

    def sound(path: Path, read: Callable[[], Found], needed: str | None = None) -> Found | None:
        """`needed`: since when the run has had it; None if it may be missing, or `read` says so."""
        if needed is not None and not os.path.lexists(path):
            found.append(Finding(path.name, f"is gone: {needed}"))
            return None
        try:
            return read()
        except (RobotRLError, OSError) as error:
            found.append(Finding(path.name, str(error)))
            return None

    robot = "the run has had it since the robot first moved" if moved else None
    learner = "the learner has written it, and its checkpoints are there" if learnt else None
    sound(run.task_yaml, lambda: task_of(run, info).method(info.method))
    sound(run.run_json, lambda: require_begun(run, info))
    policy = sound(run.policy, lambda: policy_of(run, info))
    if policy is not None:  # without it nobody can say what the golden observation should be
        spec = policy.spec
        sound(run.golden.with_suffix(".json"), lambda: read_golden(run, spec), robot)
    sound(run.guard_json, lambda: read_latch(run.guard_json), robot)
    sound(run.compute_json, lambda: read_compute(run), learner)
    if learnt or os.path.lexists(run.learner_json):
        sound(run.learner_json, lambda: read_json(run.learner_json), learner)
    return found


def check_weights(run: RunDirectory) -> tuple[int, list[Finding]]:
    """(how many were checked, what is wrong with adapters and checkpoints)."""
    found: list[Finding] = []
    known: dict[Path, Sequence[int]] = {}
    for folder in (run.adapters, run.checkpoints):
        try:
            known[folder] = numbers = _numbers(folder, ".json")
            lone = sorted({*_numbers(folder, ".safetensors")} - {*numbers})
        except StoreError as error:
            found.append(Finding(folder.name, str(error)))
            continue
        for number in numbers:
            try:
                read_weights(folder, number)
            except IntegrityError as error:
                found.append(Finding(f"{folder.name}/{number:06d}", str(error)))
        # An old checkpoint's manifest is removed before its weights: a kill may come between.
        for number in (n for n in lone if folder == run.adapters or n > min(numbers, default=0)):
            what = "has weights and no manifest: a kill came while it was written, or it was removed; it is not used"
            found.append(Finding(f"{folder.name}/{number:06d}", what))
    if len(known) == 2:
        found += _pairs(run, known[run.adapters], known[run.checkpoints])
    return sum(map(len, known.values())), found


def _pairs(run: RunDirectory, adapters: Sequence[int], checkpoints: Sequence[int]) -> list[Finding]:
    """A checkpoint is written before its adapter, and every adapter stays."""
    found = [
        Finding(f"adapters/{number:06d}", "is not there, and its checkpoint is; a resumed run writes the newest again")
        for number in checkpoints
        if number not in adapters
    ]
    newest = max(adapters, default=0)
    if newest > max(checkpoints, default=0) and (checkpoints or os.path.lexists(run.learner_json)):
        found.append(Finding(f"checkpoints/{newest:06d}", "is not there, and its adapter is: a resumed run goes back"))
    return found


def _links(run: RunDirectory) -> list[Finding]:
    """A run is one directory: what is elsewhere is neither moved, copied nor checked with it."""
    paths = [
        run.run_json, run.task_yaml, run.policy, run.policy.with_suffix(".json"), run.golden,
        run.golden.with_suffix(".json"), run.guard_json, run.learner_json, run.compute_json, run.adapters,
        run.checkpoints, run.predecessor.path,
    ]  # fmt: skip
    for folder in (run.adapters, run.checkpoints):
        with contextlib.suppress(OSError):  # `check_weights` says it
            paths += [folder / name for name in sorted(os.listdir(folder))]
    what = "is a symbolic link: expected the data itself"
    return [Finding(str(path.relative_to(run.path)), what) for path in paths if os.path.islink(path)]


def _robot_moved(run: RunDirectory) -> bool:
    """Whether any episode was recorded here, and not only taken over."""
    for number in run.closed_episodes():
        try:
            if manifest_of(run, number).counts.get(STEPS):
                return True
        except StoreError:
            continue
    return False


def _numbers(folder: Path, suffix: str) -> list[int]:
    """Of the versions that have a file with this suffix. Raises `StoreError` for a folder that cannot be read."""
    try:
        stems = [Path(name).stem for name in os.listdir(folder) if name.endswith(suffix)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot look into {folder}: {error.strerror or error}") from error
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())
