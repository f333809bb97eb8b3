"""`robot-rl run --from RUN`: a run that begins with what another one has learnt, in another world or at another cell.

What is taken over is the newest checkpoint that is whole, with its adapter: all that learning goes on with (critics
and their targets, the optimisers' moments, temperature or multiplier), for an actor that goes on under new critics is
undone by their first updates. The episodes that it was learnt from stay in the replay as older data, as offline data do
when learning goes on online (DSRL paper, section 5.3): drawn like all others, or at a method's `prior_share`.

    RUN/adapters/000100, RUN/checkpoints/000100   what was taken over; it acts from the first episode on
    RUN/predecessor/                              those episodes, and their labels as they were when the run began

They are no episodes of the new run. Its curve, its chunks, its updates and so its UTD are its own and begin at 0; its
versions count on from the one taken over. In its task file the method has no warm-up, and no chunks over which the
residual's chance rises (H): what is to be tried with care is a residual at random, and this one was learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from robot_rl.adapters.files import numbers, read_weights, write_weights
from robot_rl.compositions.plan import Material, begin_run, look_at_run, task_of
from robot_rl.compositions.taken_over import Taken, keep, unchanged
from robot_rl.config import MethodConfig, TaskConfig
from robot_rl.errors import IntegrityError, SpecMismatch, StoreError
from robot_rl.protocols import FrozenPolicy
from robot_rl.store.files import atomic_write, sha256_file
from robot_rl.store.origin import origin_of, require_origin
from robot_rl.store.run import FROM, RunDirectory, RunInfo
from robot_rl.task_files import parse_task
from robot_rl.types import ActionSpace, Array

FITTING = (
    "noise_layout", "noise_rank", "noise_seed", "noise_bound", "residual_layout", "residual_scale", "latent_scale",
    "latent_rank", "hidden", "layers", "layer_norm", "critics", "critic",
)  # fmt: skip
"""Settings that say what the learnt weights mean: both runs' are the same. The others may differ (UTD, rates, ...)."""

Weights = tuple[dict[str, Array], dict[str, Any]]
"""(arrays, manifest)."""


@dataclass(frozen=True)
class Learnt:
    """What a run has come to."""

    run: RunDirectory
    info: RunInfo
    task: TaskConfig
    policy: FrozenPolicy
    version: int
    adapter: Weights
    checkpoint: Weights

    @property
    def config(self) -> MethodConfig:
        """Its method's settings."""
        return self.task.method(self.info.method)

    @property
    def material(self) -> Material:
        """Another run of the same task and policy."""
        return Material(self.task, self.run.task_yaml.read_bytes(), self.run.briefing, self.policy, self.run.policy)


def read_learnt(path: Path) -> Learnt:
    """The newest version of the run at `path` that is whole; nothing of the run is changed.

    Raises `StoreError` for a run that has learnt nothing yet, and as `look_at_run` does.
    """
    run, info, task, policy = look_at_run(path)
    complaints = ""
    for version in reversed(numbers(run.checkpoints)):
        try:
            adapter, checkpoint = read_weights(run.adapters, version), read_weights(run.checkpoints, version)
            for what, (_, manifest) in (("adapter", adapter), ("checkpoint", checkpoint)):
                require_origin(f"{what} {version}", manifest, info.task, policy.spec)
        except (IntegrityError, SpecMismatch) as error:
            complaints += f"; {error}"
            continue
        if checkpoint[1]["warmup"]:
            break
        return Learnt(run, info, task, policy, version, adapter, checkpoint)
    raise StoreError(
        f"--from {path}: it has learnt nothing that could be taken over; expected a checkpoint and its adapter, which "
        f"there are after each labelled episode from the end of the warm-up on{complaints}"
    )


def require_fit(learnt: Learnt, task: TaskConfig, method: str, policy: FrozenPolicy, space: ActionSpace) -> None:
    """Raises `SpecMismatch`, naming both sides, where the adapter is not one of this policy, robot, method or layout.

    `space` is the robot's in the new run.
    """
    where = f"--from {learnt.run.path}"
    if method != learnt.info.method:
        raise SpecMismatch(
            f"{where}: its adapter is one of {learnt.info.method}, this run's method is {method}; leave out --method"
        )
    require_origin(
        f"{where}: adapter {learnt.version}", {**learnt.adapter[1], "task": task.name}, task.name, policy.spec
    )
    theirs = asdict(learnt.policy.spec.action_space)
    if differences := [f"{name} {theirs[name]} there, {ours} here" for name, ours in asdict(space).items()
                       if list(theirs[name]) != list(ours)]:  # fmt: skip
        raise SpecMismatch(
            f"{where}: its adapter acts in the action space {learnt.policy.spec.action_space.kind} of policy "
            f"{learnt.policy.spec.policy_id} (spec {learnt.policy.spec.hash[:12]}), the robot of task {task.name} in "
            f"another: {'; '.join(differences)}"
        )
    there, here = learnt.config.model_dump(), task.method(method).model_dump()
    if differences := [
        f"{name} {there[name]} there, {here[name]} here" for name in FITTING if there[name] != here[name]
    ]:
        raise SpecMismatch(
            f"{where}: its adapter of {method} on task {learnt.task.name} has another layout or other networks than "
            f"task {task.name} wants: {'; '.join(differences)}; leave out the task, or give its file these settings"
        )


def going_on(learnt: Learnt, material: Material) -> Material:
    """`material`, its method going on where `learnt` is: without warm-up, and with an open gate."""
    method = learnt.info.method
    raw = yaml.safe_load(material.yaml)
    opened = {"residual_horizon": 0} if material.task.method(method).residual_horizon else {}
    raw["methods"][method] = {**(raw["methods"][method] or {}), "warmup_episodes": 0, **opened}
    text = (
        f"# Of robot-rl run --from {learnt.run.path.name}: {method} goes on, without warm-up and with an open gate.\n"
    )
    text += yaml.safe_dump(raw, sort_keys=False)
    return replace(material, task=parse_task(text, material.task.name), yaml=text.encode())


def begin_from(path: Path, learnt: Learnt, material: Material, seed: int, arguments: Mapping[str, Any]) -> None:
    """Make the directory of a new run of `material` that begins with what was `learnt`. Raises `StoreError`."""
    goes_on = going_on(learnt, material)
    said = {**arguments, FROM: origin_in_arguments(learnt)}
    begin_run(path, goes_on, learnt.info.method, seed, said, partial(hand_over, learnt, goes_on, seed))


def origin_in_arguments(learnt: Learnt) -> dict[str, Any]:
    """What the new run's run.json says of it."""
    manifest = learnt.adapter[1]
    return {
        "run": str(learnt.run.path.resolve()),
        "task": learnt.info.task,
        "world": learnt.info.world,
        "seed": learnt.info.seed,
        "version": learnt.version,
        "adapter_sha256": manifest["sha256"],
        "updates": manifest["updates"],
        "chunks": manifest["chunks"],
    }


THEIRS = frozenset({"golden", "sha256", "stopped", "diverged"})
"""In a manifest, what is of the other run alone: where its learning has diverged, a new run's has not."""


def hand_over(learnt: Learnt, material: Material, seed: int, run: RunDirectory) -> None:
    """Write what `run`, made of `material`, begins with. Raises `DiskError`, `StoreError`."""
    said = {"run": str(learnt.run.path.resolve()), "world": learnt.info.world}
    said["task_sha256"] = sha256_file(learnt.run.task_yaml)
    kept = RunDirectory.create(run.predecessor.path, replace(learnt.info, arguments=said))
    atomic_write(kept.task_yaml, learnt.run.task_yaml.read_bytes())
    keep(kept, _episodes(learnt))
    config = material.task.method(learnt.info.method).model_dump(mode="json")
    fresh = {
        "through_episode": 0, "updates": 0, "chunks": 0, "label_watermark": 0, "config": config, "seed": seed,
        "losses": {}, **origin_of(material.task.name, material.policy.spec),
    }  # fmt: skip
    for folder, (arrays, manifest) in ((run.checkpoints, learnt.checkpoint), (run.adapters, learnt.adapter)):
        folder.mkdir(parents=True, exist_ok=True)
        own = {name: value for name, value in manifest.items() if name not in THEIRS} | fresh
        if folder == run.checkpoints:
            own |= {"consumed": [], "refused": {}}
        write_weights(folder, learnt.version, arrays, own)


def require_begun(run: RunDirectory, info: RunInfo) -> None:
    """Raises `IntegrityError` when what `info` says the run was begun with is gone: its learner would begin anew."""
    if not info.began_with:
        return
    try:
        task_of(run.predecessor, run.predecessor.read_info())
    except StoreError as error:
        raise IntegrityError(f"{run.path} was begun from another run, whose episodes it has lost: {error}") from error
    damage = "no checkpoint"
    for number in reversed(numbers(run.checkpoints)):
        try:
            read_weights(run.checkpoints, number)
            return
        except IntegrityError as error:
            damage = str(error)
    raise IntegrityError(f"{run.path} has lost what it was begun with, and all that it learnt since: {damage}")


def _episodes(learnt: Learnt) -> list[Taken]:
    """All that it was learnt from, in order: what its run took over itself comes first."""
    before = unchanged(learnt.run.predecessor) if learnt.info.began_with else []
    _, manifest = learnt.checkpoint
    return before + unchanged(learnt.run, {*manifest["consumed"]} - {int(episode) for episode in manifest["refused"]})
