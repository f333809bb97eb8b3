"""`robot-rl authority`: what each method of a task can hope for, before anything is learnt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from robot_rl.authority.ceilings import Controller, Played, base_controller, oracle_maker, rollouts
from robot_rl.authority.guide import Guide, load_guide
from robot_rl.authority.interface import Interface, interfaces_of
from robot_rl.authority.oracle import ROUNDS
from robot_rl.authority.reach import ASCENT_STEPS, measure_reach
from robot_rl.authority.suggestions import Suggestion, suggest
from robot_rl.compositions.authority_tables import Authority, Ceiling, draw_authority, show_authority, to_json
from robot_rl.compositions.plan import load_policy
from robot_rl.compositions.pretraining import record_demonstrations
from robot_rl.compositions.results import Rate, write_json_results
from robot_rl.compositions.terminal import progress_bar
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError
from robot_rl.policy.backbones.loading import decoder_of
from robot_rl.policy.cloning import one_thread
from robot_rl.protocols import FrozenPolicy
from robot_rl.task_files import load_task, task_path
from robot_rl.types import Context


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    trials: int
    """Episodes of each oracle."""
    states: int
    demonstrations: int = 40
    updates: int = 60
    """Timed, of each method's learner."""
    ascent_steps: int = ASCENT_STEPS
    rounds: int = ROUNDS

    @property
    def quick(self) -> Effort:
        """Shows that it runs, not what can be reached."""
        return Effort(min(self.trials, 3), min(self.states, 4), demonstrations=2, updates=5, ascent_steps=5, rounds=1)


def report_authority(task_name: str, effort: Effort, seed: int, out: Path | None, console: Console) -> None:
    """Tables, files in `out` (default runs/authority-TASK), and one last line of JSON."""
    task = load_task(task_name)
    policy = load_policy(task, task_path(task_name))
    guide, faultless = load_guide(task), load_guide(task, faultless=True)
    folder = out or Path("runs") / f"authority-{task.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: {error.strerror or error}; choose a place that can be written") from error
    demonstrations = record_demonstrations(task, effort.demonstrations, seed, console)
    interfaces = interfaces_of(task, policy.spec)
    decoder = decoder_of(policy)
    with one_thread(seed), progress_bar(console) as bar:
        trials = _Trials(task, policy, effort, seed, bar)
        base, contexts, chunks = _base(trials, guide, faultless)
        row = bar.add_task("reach", total=len(interfaces), note="")
        reaches = {}
        for interface in interfaces:
            rng = np.random.default_rng(seed)
            reaches[interface.name] = measure_reach(interface, decoder, contexts, rng, effort.ascent_steps)
            bar.advance(row)
        ceilings = {interface.name: _ceiling(trials, interface, guide) for interface in interfaces}
        row = bar.add_task("where to start", total=len(task.methods), note="")
        suggestions: list[Suggestion] = []
        for method in task.methods:
            rng = np.random.default_rng(seed)
            suggestions += suggest(method, task, policy, decoder, contexts, demonstrations, chunks, rng, effort.updates)
            bar.advance(row)
    found = Authority(task, policy.spec, interfaces, reaches, ceilings, base, merge(suggestions))
    show_authority(found, console)
    results = to_json(found) | {"trials": effort.trials, "states": len(contexts), "seed": seed}
    write_json_results(folder / "authority.json", results)
    draw_authority(found, folder / "authority.png")
    console.print(f"results are left in {folder}")
    console.file.write(json.dumps(results) + "\n")


@dataclass(frozen=True)
class _Trials:
    """Episodes of any controller on the same starts, with a row of progress each."""

    task: TaskConfig
    policy: FrozenPolicy
    effort: Effort
    seed: int
    bar: Progress

    def __call__(self, title: str, guide: Guide, make: Callable[[np.random.Generator], Controller]) -> list[Played]:
        row = self.bar.add_task(title, total=self.effort.trials, note="")
        return rollouts(
            make, guide, self.policy, self.task.max_steps, self.effort.trials, self.seed,
            lambda done: self.bar.update(row, completed=done),
        )  # fmt: skip


def _base(trials: _Trials, guide: Guide, faultless: Guide) -> tuple[dict[str, Rate], list[Context], float]:
    """The frozen policy's rates, states that it visits, and how many chunks an episode has."""
    rates: dict[str, Rate] = {}
    visited: list[list[Context]] = []
    for fault, who in (("with_fault", guide), ("without_fault", faultless)):
        for noise in ("random", "zero"):

            def make(rng: np.random.Generator, random: bool = noise == "random") -> Controller:
                return base_controller(trials.policy, rng, random=random)

            played = trials(f"frozen policy {fault.replace('_', ' ')}, {noise} noise", who, make)
            rates[f"{fault}_{noise}_noise"] = _rate(played)
            visited.append([context for episode in played for context in episode.contexts])
    states, effort = visited[0], trials.effort
    chosen = np.random.default_rng(trials.seed).choice(len(states), min(effort.states, len(states)), replace=False)
    return rates, [states[i] for i in sorted(chosen)], len(states) / effort.trials


def _ceiling(trials: _Trials, interface: Interface, guide: Guide) -> Ceiling:
    def measure(blind: bool) -> Rate:
        make = oracle_maker(interface, trials.policy, guide, blind=blind, rounds=trials.effort.rounds)
        return _rate(trials(f"oracle of {interface.name}{', blind' if blind else ''}", guide, make))

    return Ceiling(measure(False), measure(True) if interface.keeps_base_noise else None)


def _rate(played: list[Played]) -> Rate:
    return Rate(sum(episode.success for episode in played), len(played))


def merge(suggestions: list[Suggestion]) -> list[Suggestion]:
    """The same advice for several methods is given once; in the order of settings."""
    merged: dict[Any, Suggestion] = {}
    for one in suggestions:
        key = replace(one, methods=())
        known = merged[key].methods if key in merged else ()
        merged[key] = replace(one, methods=known + one.methods)
    return sorted(merged.values(), key=lambda one: one.setting)
