"""A run before it moves: its directory, task, policy and settings, made new or taken up again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robot_rl import __version__
from robot_rl.adapters.fitting import fitting_layout
from robot_rl.config import MethodConfig, TaskConfig
from robot_rl.console.access import Access
from robot_rl.errors import ConfigError, IntegrityError, SpecMismatch, StoreError
from robot_rl.learn.prior import load_prior
from robot_rl.policy.backbones.loading import load_checkpoint
from robot_rl.policy.remote import RemotePolicy
from robot_rl.protocols import FrozenPolicy
from robot_rl.store.files import read_json, sha256_file
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.store.store import require_labels
from robot_rl.task_files import TASKS_DIR, load_task, task_path
from robot_rl.wire.keys import ClientKeys, read_keys

REAL_TIME, LOCKSTEP = "real-time", "lockstep"
LOCAL = "local"
"""The endpoint that is none: the policy acts in this process."""


@dataclass(frozen=True)
class RunPlan:
    """Everything a composition needs to wire a run."""

    run: RunDirectory
    info: RunInfo
    task: TaskConfig
    policy: FrozenPolicy
    episodes: int
    """Labelled episodes that the run is to have in the end."""
    auto_label: bool
    console_port: int | None
    """TCP port of the operator's page, 0 for a free one, None for no page."""
    access: Access = field(default_factory=Access)
    """From where that page may be reached."""
    pace: str = REAL_TIME
    """Whose time it goes by, `REAL_TIME` or `LOCKSTEP`: for who starts the processes."""
    learner: bool = True
    """Whether this machine learns; if not, the adapters act that come into the run's directory."""
    policy_endpoint: str = ""
    """Of the policy server that acts; empty: the run's own policy does. For whoever connects from another process."""
    policy_keys: str = ""
    """Path of this client's keys for it; empty: it has none."""
    base_success: float | None = None
    base_trials: int | None = None
    """The frozen policy's rate in the twin, measured before the run."""

    @property
    def method(self) -> MethodConfig:
        """The adapter's settings."""
        return self.task.method(self.info.method)


BRIEFING = 2000
"""Characters."""


def checkpoint_path(task: TaskConfig, task_file: Path) -> Path:
    """Where the frozen policy of `task` is: beside its file, or wherever it says."""
    path = Path(task.policy.checkpoint)
    return path if path.is_absolute() else task_file.parent / path


def is_named(asked: str, name: str) -> bool:
    """Whether the task that was `asked` for, by name or file, is called `name`."""
    return Path(asked).stem == name or (os.path.isfile(asked) and load_task(asked, begun=True).name == name)


def load_policy(task: TaskConfig, task_file: Path) -> FrozenPolicy:
    """The task's own frozen policy. Raises `IntegrityError`, saying how to make it."""
    path = checkpoint_path(task, task_file)
    if not os.path.isfile(path):  # no error for a name that no file can have
        name = task.name if task_file.parent == TASKS_DIR else task_file
        raise IntegrityError(f"no frozen policy at {path}: make it with `robot-rl pretrain {name}`")
    return load_checkpoint(path)


@dataclass(frozen=True)
class Material:
    """What a new run is made of."""

    task: TaskConfig
    yaml: bytes
    """The task's file."""
    briefing: str
    """What is told to the person who labels (`briefing_of`)."""
    policy: FrozenPolicy
    checkpoint: Path
    """The policy's weights."""


def material_of(task_name: str) -> Material:
    """A task by its name, or the path of its file, with its own frozen policy. Raises as `load_policy` does."""
    task, task_file = load_task(task_name), task_path(task_name)
    policy, checkpoint = load_policy(task, task_file), checkpoint_path(task, task_file)
    return Material(task, task_file.read_bytes(), briefing_of(task_file), policy, checkpoint)


def briefing_of(task_file: Path) -> str:
    """What counts as success and how the object is put back: the .txt of the same name, empty if there is none.

    A file of its own, as it is for a person and decides nothing that is computed. Raises `ConfigError`.
    """
    path = task_file.with_suffix(".txt")
    try:
        briefing = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected text in UTF-8 for the person who labels; {error}") from error
    if len(briefing) > BRIEFING:
        raise ConfigError(f"{path}: expected at most {BRIEFING} characters, which a person reads; got {len(briefing)}")
    return briefing


def require_method(task: TaskConfig, method: str, policy: FrozenPolicy, *, learns_here: bool = True) -> None:
    """See that settings and, where it `learns_here`, demonstrations of `method` fit, before anything is begun.

    Raises `ConfigError` for a method that the task lacks, `SpecMismatch` for what does not fit the method or the
    policy, `IntegrityError` for demonstrations that cannot be read.
    """
    config = task.method(method)
    layout = fitting_layout(policy.spec, method, config)
    if learns_here and config.demonstrations is not None:
        load_prior(config.demonstrations, policy, layout, config.gamma)


def new_run(
    path: Path, task_name: str, method: str, seed: int, arguments: Mapping[str, Any]
) -> tuple[RunDirectory, RunInfo]:
    """Make a run's directory, with its own copies of the task file and the frozen policy."""
    return begin_run(path, material_of(task_name), method, seed, arguments)


def begin_run(
    path: Path,
    material: Material,
    method: str,
    seed: int,
    arguments: Mapping[str, Any],
    fill: Callable[[RunDirectory], None] = lambda run: None,
) -> tuple[RunDirectory, RunInfo]:
    """The same of `material`; `fill` adds what else the run begins with."""
    material.task.method(method)
    info = RunInfo(
        task=material.task.name,
        method=method,
        seed=seed,
        spec_hash=material.policy.spec.hash,
        code_version=__version__,
        arguments=dict(arguments),
    )
    return make_directory(path, info, material.yaml, material.checkpoint, material.briefing, fill)


def make_directory(
    path: Path,
    info: RunInfo,
    task_yaml: bytes,
    policy: Path,
    briefing: str,
    fill: Callable[[RunDirectory], None] = lambda run: None,
) -> tuple[RunDirectory, RunInfo]:
    """A run's directory at `path` with its task file and a copy of its policy; `info` as it is written there.

    `fill` is given it before it is a run. Raises `StoreError` when there is something at `path` already, or it cannot
    be written.
    """
    if (path / "run.json").exists():
        raise StoreError(f"{path} holds a run already; resume it, or choose another directory")
    try:
        path.mkdir(parents=True, exist_ok=True)
        if found := sorted(entry.name for entry in path.iterdir()):
            raise StoreError(f"{path}: expected a new or an empty directory for a run, found {found[0]!r} in it")
        (path / "task.yaml").write_bytes(task_yaml)
        if briefing:
            (path / "task.txt").write_text(briefing + "\n", encoding="utf-8")
        for suffix in (".safetensors", ".json"):
            shutil.copyfile(policy.with_suffix(suffix), RunDirectory(path).policy.with_suffix(suffix))
    except OSError as error:
        raise StoreError(f"cannot make the run's directory {path}: {error.strerror or error}") from error
    fill(RunDirectory(path))
    info = replace(info, arguments={**info.arguments, "task_sha256": sha256_file(path / "task.yaml")})
    return RunDirectory.create(path, info), info


def open_run(path: Path) -> tuple[RunDirectory, RunInfo, TaskConfig, FrozenPolicy]:
    """A run as it was begun, to go on with. Raises `StoreError`, `SpecMismatch` if it began with another policy."""
    return _begun(RunDirectory.open(path))


def look_at_run(path: Path) -> tuple[RunDirectory, RunInfo, TaskConfig, FrozenPolicy]:
    """A run as it was begun, which may be on a disk that cannot be written. Raises as `open_run` does."""
    return _begun(RunDirectory.look(path))


def _begun(run: RunDirectory) -> tuple[RunDirectory, RunInfo, TaskConfig, FrozenPolicy]:
    info = run.read_info()
    require_labels(run)  # before anybody opens the log, which would make a new one
    task, policy = task_of(run, info), policy_of(run, info)
    return run, info, task, policy


def task_of(run: RunDirectory, info: RunInfo) -> TaskConfig:
    """The task as the run began with it. Raises `StoreError`, `SpecMismatch` if its file is another, `ConfigError`."""
    if not os.path.isfile(run.task_yaml):
        raise StoreError(f"{run.task_yaml} is gone: put the file back, or begin a new run")
    try:
        found = sha256_file(run.task_yaml)
    except OSError as error:
        raise StoreError(f"cannot read {run.task_yaml}: {error.strerror or error}") from error
    begun = str(info.arguments.get("task_sha256", found))
    if begun != found:
        raise SpecMismatch(
            f"{run.task_yaml}: the run began with the file of sha256 {begun[:12]}, this one has {found[:12]}; "
            "put the file back, or begin a new run"
        )
    return load_task(run.task_yaml, begun=True)


def policy_of(run: RunDirectory, info: RunInfo) -> FrozenPolicy:
    """The run's own copy of its policy. Raises `IntegrityError`, or `SpecMismatch` if it did not begin with that."""
    policy = load_checkpoint(run.policy)
    if policy.spec.hash != info.spec_hash:
        raise SpecMismatch(
            f"{run.path}: the run began with the policy of spec {info.spec_hash[:12]}, {run.policy.name} is "
            f"{policy.spec.hash[:12]} ({policy.spec.policy_id}); put the file back"
        )
    return policy


def connect_policy(endpoint: str | None, local: FrozenPolicy, keys: Path | None = None) -> FrozenPolicy:
    """The policy that acts: the run's own ("local"), or a server's; the learner decodes with the run's: they agree.

    `keys` is a client's file, for a server that lets nobody else in.
    """
    if endpoint in (None, LOCAL):
        return local
    if not endpoint.startswith(("tcp://", "ipc://")):
        raise ConfigError(
            f"--policy: expected tcp://HOST:PORT or ipc://PATH of a policy server, or local, got {endpoint!r}"
        )
    remote = RemotePolicy(endpoint, keys=None if keys is None else read_keys(keys, ClientKeys))
    if remote.spec.hash != local.spec.hash:
        remote.close()
        raise SpecMismatch(
            f"the server at {endpoint} has policy {remote.spec.policy_id} (spec {remote.spec.hash[:12]}), the run has "
            f"{local.spec.policy_id} ({local.spec.hash[:12]}); start the server with the run's checkpoint"
        )
    return remote


def learner_status(run: RunDirectory, *, alive: bool) -> dict[str, Any] | None:
    """The learner's newest word on itself, or None before its first."""
    try:
        return {**read_json(run.learner_json), "alive": alive}
    except StoreError:
        return None
