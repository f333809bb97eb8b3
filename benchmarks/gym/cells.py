"""One frozen policy an environment, and one cell a method and seed; each made once for one state of the code.

A cell is named by what decides it (`benchmarks.digest.gym_digest`), and kept in the repository too (`RECORDS`). The
frozen policy is made anew where it is not on this machine. Cloning comes to the same weights on one kind of processor
only: a policy's id stands in each record, and a table says where it is of more than one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from benchmarks.cells import fits_if, once
from benchmarks.digest import ROOT, gym_digest
from benchmarks.gym.conditions import conditions
from benchmarks.gym.judging import train_and_judge
from benchmarks.gym.policy import Progress, StatePolicy, clone
from benchmarks.gym.settings import POLICY
from benchmarks.gym.tasks import GymTask, space_of
from benchmarks.gym.world import GymWorld, demonstrate
from benchmarks.studies.lockstep import base_adapter
from benchmarks.studies.lockstep import trials as play_trials
from robot_rl.compositions.results import Rate
from robot_rl.config import PolicyConfig
from robot_rl.errors import ConfigError
from robot_rl.types import canonical_hash

RECORDS = ROOT / "benchmarks" / "records" / "gym"
STEP_S = 1.0
"""Environments have no clock of ours: a step takes one."""
DEMONSTRATED = 1000
"""Seed of the demonstrations."""
IDENTITY = ("env", "method", "seed", "episodes", "trials")
FIGURES = frozenset(
    {
        *("success", "interval", "base_success", "base_interval", "exploring_motion", "base_motion", "curve"),
        *("policy", "imperfection"),
    }
)
"""What a cell has at least; older ones lack some of what is judged beside."""
OF_FROZEN = ("success", "interval", "imperfection")
"""What a judgement of a frozen policy alone has at least."""
FROZEN_SEED = 3000
"""Of its trials: what is chosen by them is judged on others, in a cell."""


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

    @property
    def said(self) -> dict[str, Any]:
        """What its record says that it is."""
        return {"env": self.task.env, **{part: getattr(self, part) for part in IDENTITY[1:]}}


def slug(env: str) -> str:
    """An environment's id or a method's name as a file's name has it."""
    return re.sub(r"[^a-z0-9_]", "-", env.lower())


def digest_of(task: GymTask, policy: PolicyConfig) -> str:
    """Of what decides the frozen policy of `task`, and what is learnt on it."""
    settings = {"task": asdict(task), "policy": policy.model_dump(mode="json"), "demonstrated": DEMONSTRATED}
    return gym_digest(settings, task.expert_source())


def folder_of(task: GymTask, policy: PolicyConfig, out: Path) -> Path:
    """Where in `out` its frozen policy is, and how that was judged alone."""
    made_by = canonical_hash(conditions(task))[:6]
    return out / f"{slug(task.env)}-{digest_of(task, policy)}-{made_by}"


def world_of(task: GymTask, policy: PolicyConfig, out: Path, progress: Progress | None = None) -> GymWorld:
    """The environment with its frozen policy, which is cloned into `out` unless it is there."""
    env = task.make()
    path = folder_of(task, policy, out) / policy.checkpoint
    space = space_of(env)
    if not path.exists():
        wanted = task.imperfection.episodes

        def shown(number: int) -> None:
            if progress is not None:
                progress("demonstrations", number, wanted, 0.0)

        made = clone(demonstrate(task, DEMONSTRATED, shown), policy, space, STEP_S, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.save(path)
    try:
        return GymWorld(task, env, StatePolicy.load(path, policy, space, STEP_S))
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ConfigError(f"{path} is damaged ({error}): remove it, and it is made again") from error


def frozen_alone(
    task: GymTask, policy: PolicyConfig, trials: int, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Success of the frozen policy alone, its interval, and what it is of; kept beside it, and of that one alone."""
    folder = folder_of(task, policy, out)
    said = {"env": task.env, "trials": trials, "seed": FROZEN_SEED}
    name = f"frozen-{trials}-{FROZEN_SEED}"

    def make() -> dict[str, Any]:
        world = world_of(task, policy, out, progress)
        rate = Rate(sum(one.success for one in play_trials(world, base_adapter(world), trials, FROZEN_SEED)), trials)
        found = {"success": rate.rate, "interval": list(rate.interval), "imperfection": str(task.imperfection)}
        return {**found, **said, "policy": world.policy.spec.policy_id}

    of_this = fits_if(said, OF_FROZEN)

    def fits(result: Mapping[str, Any]) -> bool:
        return of_this(result) and (folder / policy.checkpoint).exists()

    return once(folder / f"{name}.json", name, name, make, record=False, fits=fits)


def run_cell(cell: Cell, out: Path, progress: Progress | None = None, *, record: bool = False) -> dict[str, Any]:
    """Train and judge, in this process; what is there, in `out` or on record, is read if made as it would be here.

    Raises `ConfigError` for a file there that is not this cell's.
    """
    here = conditions(cell.task)

    def made(number: int) -> None:
        if progress is not None:
            progress(f"{cell.method}, seed {cell.seed}", number, cell.episodes, 0.0)

    def make() -> dict[str, Any]:
        world = world_of(cell.task, cell.policy, out, progress)
        return {
            **train_and_judge(world, cell.method, cell.seed, cell.episodes, cell.trials, cell.task.moves, made),
            **cell.said,
            "policy": world.policy.spec.policy_id,
            "imperfection": str(cell.task.imperfection),
            **here,
        }

    of_this_cell = fits_if(cell.said, FIGURES)

    def fits(result: Mapping[str, Any]) -> bool:
        return of_this_cell(result) and {name: result.get(name) for name in here} == here

    return once(out / f"{cell.name}.json", cell.kind, cell.name, make, record, RECORDS, fits)
