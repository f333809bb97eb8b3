"""One frozen policy an environment, and one cell a method and seed; each made once for one state of the code.

A cell is named by what decides it (`benchmarks.digest.gym_digest`), and kept in the repository too (`RECORDS`). The
frozen policy is made anew where it is not on this machine; its id stands in each record.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import once
from benchmarks.digest import ROOT, gym_digest
from benchmarks.gym.policy import Progress, StatePolicy, clone
from benchmarks.gym.settings import POLICY, Frozen, settings_of
from benchmarks.gym.tasks import GymTask, space_of
from benchmarks.gym.world import GymWorld, demonstrate
from benchmarks.studies.lockstep import Played, base_adapter, train, trials
from robot_rl.compositions.results import Rate
from robot_rl.config import PolicyConfig
from robot_rl.types import Array

RECORDS = ROOT / "benchmarks" / "records" / "gym"
STEP_S = 1.0
"""Environments have no clock of ours: a step takes one."""
DEMONSTRATED, LOOKED_AT = 1000, 2000
"""Seeds of the demonstrations, and of the episodes in which the frozen policy's latents are looked at."""
LOOKS = 10
SIMULATORS = ("gymnasium", "mujoco", "metaworld", "gymnasium-robotics", "robosuite")


@dataclass(frozen=True)
class Cell:
    """What is trained, and how it is judged."""

    task: GymTask
    method: str
    seed: int
    episodes: int
    trials: int
    policy: PolicyConfig = POLICY

    @property
    def kind(self) -> str:
        """Its name without what decides it: a new record of the same kind takes the old one's place."""
        return f"{slug(self.task.env)}-{slug(self.method)}-{self.seed}-{self.episodes}x{self.trials}"

    @property
    def name(self) -> str:
        """Of its record."""
        return f"{self.kind}-{digest_of(self.task, self.policy)}"


def slug(env: str) -> str:
    """An environment's id or a method's name as a file's name has it."""
    return env.lower().replace("/", "-").replace(":", "-")


def digest_of(task: GymTask, policy: PolicyConfig) -> str:
    """Of what decides the frozen policy of `task`, and what is learnt on it."""
    return gym_digest({"task": asdict(task), "policy": policy.model_dump(mode="json")})


def world_of(task: GymTask, policy: PolicyConfig, out: Path, progress: Progress | None = None) -> GymWorld:
    """The environment with its frozen policy, which is cloned into `out` unless it is there."""
    env = task.make()
    path = out / f"{slug(task.env)}-{digest_of(task, policy)}" / policy.checkpoint
    space = space_of(env)
    if not path.exists():
        wanted = task.imperfection.episodes

        def shown(number: int) -> None:
            if progress is not None:
                progress("demonstrations", number, wanted, 0.0)

        made = clone(demonstrate(task, DEMONSTRATED, shown), policy, space, STEP_S, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.save(path)
    return GymWorld(task, env, StatePolicy.load(path, policy, space, STEP_S))


def run_cell(cell: Cell, out: Path, progress: Progress | None = None, *, record: bool = False) -> dict[str, Any]:
    """Train and judge, in this process; what is there, in `out` or on record, is read."""

    def make() -> dict[str, Any]:
        return _train_and_judge(cell, world_of(cell.task, cell.policy, out, progress))

    return once(out / f"{cell.name}.json", cell.kind, cell.name, make, record, RECORDS)


def _train_and_judge(cell: Cell, world: GymWorld) -> dict[str, Any]:
    """The newest adapter against the frozen policy, on the same starts; and how both move while they explore."""
    began = time.monotonic()
    space = world.policy.spec.action_space
    config = settings_of(cell.method, Frozen(space, world.policy.spread, latents(world)))
    training = train(world, cell.method, config, cell.seed, cell.episodes)
    seconds = time.monotonic() - began
    base = trials(world, base_adapter(world), cell.trials, cell.seed)
    adapted = trials(world, training.adapter, cell.trials, cell.seed)
    exploring = trials(world, training.adapter, max(1, cell.trials // 4), cell.seed, explore=True)
    moves = list(range(space.size)) if cell.task.moves is None else list(cell.task.moves)
    found: dict[str, Any] = {}
    for name, played in (("base_", base), ("", adapted), ("exploring_", exploring)):
        rate = Rate(sum(one.success for one in played), len(played))
        found |= {f"{name}success": rate.rate, f"{name}interval": [round(end, 4) for end in rate.interval]}
        found |= {f"{name}velocity": velocity(played, moves), f"{name}acceleration": acceleration(played, moves)}
    return {
        **found,
        "env": cell.task.env,
        "method": cell.method,
        "seed": cell.seed,
        "episodes": cell.episodes,
        "trials": cell.trials,
        "policy": world.policy.spec.policy_id,
        "imperfection": str(cell.task.imperfection),
        "curve": training.curve,
        "training_seconds": round(seconds, 1),
        "simulators": {name: version for name in SIMULATORS if (version := _version(name))},
    }


def latents(world: GymWorld) -> Array:
    """[n, Z] that the frozen policy has at work, in episodes that are neither trained on nor judged."""
    played = trials(world, base_adapter(world), LOOKS, LOOKED_AT)
    return np.array([transition.z for one in played for transition in one.transitions])


def velocity(played: Sequence[Played], moves: Sequence[int]) -> float:
    """Mean |a_t| over the entries `moves`, in the action's units a step."""
    return float(np.mean([np.linalg.norm(one.executed[:, moves], axis=1).mean() for one in played]))


def acceleration(played: Sequence[Played], moves: Sequence[int]) -> float:
    """Mean |a_(t+1) - a_t|, in the action's units a step^2 (ZPRL, table II)."""
    changes = [np.linalg.norm(np.diff(one.executed[:, moves], axis=0), axis=1).mean() for one in played]
    return float(np.mean(changes))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
