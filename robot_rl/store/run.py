"""The directory of one run: where everything is, and what the run was.

RUN/run.json  task.yaml  policy.*   what was run; run.json is written last and never again
    task.txt                        what is told to the person who labels, if the task has it
    episodes/000001/                one closed episode: episode.mcap, manifest.json (robot_rl.store.episode), and for
                                    ROS metadata.yaml (robot_rl.store.bag)
    episodes/.000002.partial/       the open one
    episodes/000002.incomplete.1/   what a kill or an abort left of one; never trained on
    episodes/000002.salvaged.1/     what `robot-rl repair` could read of one; never trained on
    labels.sqlite                   the label log and the audit log (robot_rl.store.labels)
    adapters/ checkpoints/          what the learner writes
    predecessor/                    of a run that was begun from another one (`run --from`): that one's episodes, their
                                    transitions alone, with task.yaml, labels.sqlite and run.json as above
    staged/NAME/episodes/           of `robot-rl adapt`: what a worker has recorded, until it is taken in, in order
    golden.npz golden.json          an observation, and what the policy made of it (robot_rl.store.golden)
    .reserve                        disk space kept back while a store is open (robot_rl.store.reserve)
    guard.json learner.json         the guard's latch, the learner's newest status
    compute.json                    how the learner computes on its machine
    results/

Derived, hashed, and made again when they are missing or do not match: transitions.packed and .pool.* beside a
recording, .episodes.memory and .adapters.memory in the run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robot_rl.clock import wall_time_ns
from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.files import read_json, sync_directory, write_json
from robot_rl.store.records import record
from robot_rl.types import canonical_hash

FORMAT = 1
"""Of run.json."""
FROM = "from"
"""In a run's arguments: the run that it was begun from, and the adapter version it took over."""
ADAPT = "adapt"
"""In a run's arguments: that workers play its episodes in randomised worlds, how many, and the ranges."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run is; fixed when it begins."""

    task: str
    """The task's name."""
    method: str
    seed: int
    spec_hash: str
    """Of the frozen policy's `PolicySpec`."""
    code_version: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The command line's, as JSON."""
    created_wall_ns: int = field(default_factory=wall_time_ns)
    """The date, for people."""

    @property
    def world(self) -> str:
        """In which of its task's worlds it is."""
        return str(self.arguments.get("world") or "twin")

    @property
    def ranges(self) -> Mapping[str, Any] | None:
        """Of its randomised worlds (`robot-rl adapt`); None: it is in one world.

        Raises `IntegrityError` where run.json does not say which.
        """
        if ADAPT not in self.arguments:
            return None
        said = self.arguments[ADAPT]
        ranges = said.get("ranges") if isinstance(said, Mapping) else None
        if not isinstance(ranges, Mapping):
            raise IntegrityError(f"run.json, {ADAPT}: expected the ranges of its randomised worlds, got {said}")
        return ranges

    @property
    def began_with(self) -> int:
        """The adapter version that it was begun with (`run --from`); its own count on from there. 0: none.

        Raises `IntegrityError` where run.json does not say which.
        """
        if FROM not in self.arguments:
            return 0
        origin = self.arguments[FROM]
        version = origin.get("version") if isinstance(origin, Mapping) else None
        if not isinstance(version, int) or version < 1:
            raise IntegrityError(f"run.json, {FROM}: expected the adapter version that it was begun with, got {origin}")
        return version


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of a run; `create` and `open` check that it is one."""

    path: Path

    @classmethod
    def create(cls, path: str | Path, info: RunInfo) -> RunDirectory:
        """Begin a run at `path`. Raises `StoreError` when there is one already."""
        run = cls(Path(path))
        if run.run_json.exists():
            raise StoreError(f"{run.path} holds a run already; resume it, or choose another directory")
        run._make_folders()
        write_json(run.run_json, {"format": FORMAT, **asdict(info)})
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """An existing run, to go on with. Raises as `look` does."""
        run = cls.look(path)
        run._make_folders()
        return run

    @classmethod
    def look(cls, path: str | Path) -> RunDirectory:
        """An existing run; nothing is made in it.

        Raises `StoreError` when `path` is none, `IntegrityError` when its run.json is damaged.
        """
        run = cls(Path(path))
        try:
            if not run.run_json.is_file():
                raise StoreError(f"{run.path} is not a run: expected {run.run_json.name} in it")
            run.read_info()
            if run.episodes.is_symlink():
                raise StoreError(f"{run.episodes} is a symbolic link: move the whole run there, and open it there")
            if not run.episodes.is_dir():
                raise StoreError(f"{run.episodes} is gone: put it back; its labels mean nothing without it")
        except OSError as error:  # `is_file` and the like raise where they may not look
            raise StoreError(f"cannot look into {run.path}: {error.strerror or error}") from error
        return run

    def _make_folders(self) -> None:
        """Those that a run can make again are made again when they are gone."""
        try:
            for folder in (self.episodes, self.adapters, self.checkpoints, self.results):
                folder.mkdir(parents=True, exist_ok=True)
            sync_directory(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise StoreError(f"cannot make the run's directory {self.path}: {error.strerror or error}") from error

    def read_info(self) -> RunInfo:
        """What run.json says. Raises `IntegrityError`."""
        raw = read_json(self.run_json)
        if (found := raw.pop("format", None)) != FORMAT:
            raise IntegrityError(f"{self.run_json}: expected format {FORMAT}, got {found!r}; use its version")
        return record(RunInfo, raw, str(self.run_json))

    @property
    def identity(self) -> int:
        """31 bits, never 0, that tell this run's label log from another's (`LabelLog`). Raises as `read_info` does."""
        return int(canonical_hash(asdict(self.read_info()))[:8], 16) & 0x7FFFFFFF or 1

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def task_yaml(self) -> Path:
        return self.path / "task.yaml"

    @property
    def briefing(self) -> str:
        """What counts as success, in words for the person who labels; empty if nobody has written it."""
        try:
            return (self.path / "task.txt").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""  # a run without it is as sound as one with it

    @property
    def episodes(self) -> Path:
        return self.path / "episodes"

    @property
    def labels(self) -> Path:
        return self.path / "labels.sqlite"

    @property
    def adapters(self) -> Path:
        return self.path / "adapters"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def policy(self) -> Path:
        """The run's own copy of the frozen policy's checkpoint; its manifest lies beside it."""
        return self.path / "policy.safetensors"

    @property
    def guard_json(self) -> Path:
        return self.path / "guard.json"

    @property
    def learner_json(self) -> Path:
        return self.path / "learner.json"

    @property
    def compute_json(self) -> Path:
        """How this run's learner computes; a resumed one does likewise, to go on bit for bit."""
        return self.path / "compute.json"

    @property
    def predecessor(self) -> RunDirectory:
        """What was taken over of the run that this one was begun from: its episodes, and nothing that moves a robot."""
        return RunDirectory(self.path / "predecessor")

    @property
    def staged(self) -> Path:
        """Where the workers of `robot-rl adapt` record, each in a folder of its own with `episodes` in it."""
        return self.path / "staged"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def store_lock(self) -> Path:
        """Locked by the one process that writes episodes."""
        return self.path / ".store.lock"

    @property
    def golden(self) -> Path:
        """The observation that a resumed run is checked by (`store.golden`)."""
        return self.path / "golden.npz"

    @property
    def reserve(self) -> Path:
        """Disk space kept back (`store.reserve`)."""
        return self.path / ".reserve"

    def episode(self, number: int) -> Path:
        """Where the closed episode `number` is."""
        return self.episodes / f"{number:06d}"

    def partial(self, number: int) -> Path:
        """Where episode `number` is while it is open."""
        return self.episodes / f".{number:06d}.partial"

    def incomplete(self, number: int) -> Path:
        """A free name for what is left of episode `number`."""
        return self._free(f"{number:06d}.incomplete")

    def salvaged(self, number: int) -> Path:
        """A free name for what could be read of episode `number`."""
        return self._free(f"{number:06d}.salvaged")

    def _free(self, name: str) -> Path:
        attempt = 1
        while (path := self.episodes / f"{name}.{attempt}").exists():
            attempt += 1
        return path

    def closed_episodes(self) -> list[int]:
        """Numbers of the closed episodes, in order; none has to be complete (see its manifest)."""
        return _numbers(self.episodes, r"([0-9]{6,9})")

    def partial_episodes(self) -> list[int]:
        """Numbers of the episodes that are open, or were when their writer died."""
        return _numbers(self.episodes, r"\.([0-9]{6,9})\.partial")

    def incomplete_paths(self) -> list[Path]:
        """What kills and aborts have left."""
        return self._named(r"[0-9]{6,9}\.incomplete\.[0-9]+")

    def salvaged_paths(self) -> list[Path]:
        """What `repair` could read of episodes."""
        return self._named(r"[0-9]{6,9}\.salvaged\.[0-9]+")

    def _named(self, pattern: str) -> list[Path]:
        return sorted(self.episodes / name for name in _names(self.episodes) if re.fullmatch(pattern, name))


def locate(folder: Path) -> tuple[RunDirectory, int, Path]:
    """(run, number, full path) of an episode's directory: RUN/episodes/000012, .000012.partial, 000012.incomplete.1.

    Raises `StoreError` for any other path, `IntegrityError` for a symbolic link.
    """
    path = Path(os.path.abspath(folder))
    match = re.fullmatch(r"\.?([0-9]{6,9})(\.partial|\.incomplete\.[0-9]+)?", path.name)
    if match is None or path.parent.name != "episodes":
        raise StoreError(f"{folder}: expected an episode's directory, as RUN/episodes/000012")
    if os.path.islink(path):
        raise IntegrityError(f"{folder} is a symbolic link: expected the episode's own directory; not followed")
    run = RunDirectory.look(path.parent.parent)
    if not os.path.isdir(path):
        raise StoreError(
            f"{folder}: expected an episode's directory, and there is none; `robot-rl runs` lists the runs"
        )
    return run, int(match[1]), path


def _numbers(folder: Path, pattern: str) -> list[int]:
    """The numbers in the names that the store gives: 0000007 is none of them, and would be a second 7."""
    form = re.compile(pattern)
    digits = (match[1] for name in _names(folder) if (match := form.fullmatch(name)))
    return sorted(int(number) for number in digits if number == f"{int(number):06d}")


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise StoreError(f"cannot look into {folder}: {error.strerror or error}") from error
