"""From a task's scripted expert to its frozen policy."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID

from robot_rl.clock import SteppedClock
from robot_rl.compositions.plan import checkpoint_path
from robot_rl.compositions.terminal import progress_bar
from robot_rl.config import PolicyConfig, TaskConfig
from robot_rl.errors import ConfigError
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.policy.backbones.settings import parse_backbone
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.task_files import load_task, task_path
from robot_rl.twins import load_object, load_twin


def record_demonstrations(task: TaskConfig, count: int | None, seed: int, console: Console) -> Demonstrations:
    """The task's scripted expert in the twin, `count` (None: the task's number of) successful episodes."""
    wanted = count or task.policy.demonstrations
    with progress_bar(console) as bar:
        row = bar.add_task("demonstrations", total=wanted, note="")
        recorded: Demonstrations = load_object(task.demonstrator)(
            task, wanted, seed, lambda done: bar.update(row, completed=done)
        )
    return recorded


def save_demonstrations(task: TaskConfig, out: Path, count: int | None, seed: int, console: Console) -> None:
    """`robot-rl demos`. Raises `ConfigError` for a path that cannot be written, before anything is recorded."""
    check_target(out, ".npz")
    recorded = record_demonstrations(task, count, seed, console)
    recorded.save(out)
    console.print(f"{recorded.episodes} demonstrations, {len(recorded.action)} control steps, in {out}")


def clone_policy(
    task_name: str, demonstrations: Path | None, out: Path | None, steps: int | None, console: Console
) -> None:
    """`robot-rl pretrain`; `steps` in place of the task's, for a first look."""
    from robot_rl.policy.backbones.training import train
    from robot_rl.policy.cloning import clone

    task = load_task(task_name)
    policy = task.policy if steps is None else shortened(task.policy, steps)
    target = out or checkpoint_path(task, task_path(task_name))
    check_target(target, ".safetensors")
    if demonstrations is None:
        recorded = record_demonstrations(task, None, task.policy.seed, console)
    else:
        recorded = load_demonstrations(demonstrations, policy)
    robot = load_twin(task, "twin", SteppedClock()).spec
    with progress_bar(console) as bar:
        rows: dict[str, TaskID] = {}

        def show(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in rows:
                rows[stage] = bar.add_task(stage, total=steps, note="")
            bar.update(rows[stage], completed=step, note=f"loss {loss:.4f}")

        make = clone if policy.backbone is None else train
        report = make(recorded, policy, robot.action_space, target, show, step_s=1 / robot.control_hz)
    made = f"{report.policy_id}: {report.parameters} parameters, loss {report.loss:.4f}"
    console.print(f"{made}, {report.seconds:.0f} s, in {target}")


def shortened(policy: PolicyConfig, steps: int) -> PolicyConfig:
    """The same policy trained for `steps`, and its bottleneck for no more: quick, and not good."""
    return policy.model_copy(update={"train_steps": steps, "bottleneck_steps": min(steps, policy.bottleneck_steps)})


def load_demonstrations(path: Path, policy: PolicyConfig) -> Demonstrations:
    """With frames, where the policy looks at them. Raises `IntegrityError`."""
    if policy.backbone is None or parse_backbone(policy.backbone, policy).vision is None:
        return Demonstrations.load(path)
    return SeenDemonstrations.load(path)


def check_target(path: Path, suffix: str) -> None:
    """Raises `ConfigError` when no file can be written at `path`, or under another name than it says."""
    if path.suffix != suffix or path.is_dir():
        raise ConfigError(f"--out: expected the path of a file that ends in {suffix}, got {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {path}: {error.strerror or error}; choose a place that can be written") from error
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"--out {path}: {path.parent} cannot be written to; choose another place")
