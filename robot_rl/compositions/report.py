"""What a run has come to: its adapter against the frozen policy as a table and a line of JSON, its learning curve."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from robot_rl.adapters.acting import load_adapter
from robot_rl.adapters.files import numbers, read_weights
from robot_rl.compositions.evaluate import Witness, evaluate, frozen
from robot_rl.compositions.plan import open_run
from robot_rl.compositions.results import Rate, draw_curve, draw_history, write_json_results, write_tensorboard
from robot_rl.compositions.terminal import progress_bar
from robot_rl.config import MethodConfig
from robot_rl.errors import IntegrityError, StoreError
from robot_rl.learn.entropy import chunk_entropy
from robot_rl.methods import entry_of
from robot_rl.protocols import Adapter
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes, labels_of
from robot_rl.task_files import load_task
from robot_rl.types import LabelValue

PROBES = 32
"""States, of those that the frozen policy came to, at which chunks are drawn for their entropy."""


def evaluate_and_show(
    path: Path, *, trials: int, seed: int, version: int | None, world: str | None, console: Console
) -> None:
    """`robot-rl eval`: table, files, and one last line of JSON. `world` None: the run's own."""
    run, info, task, policy = open_run(path)
    world = world or info.world
    chosen = chosen_version(run, version)
    adapter = load_adapter(run.adapters, chosen, policy.spec)
    witness = Witness(frozen(policy))
    candidates: dict[str, Adapter] = {"frozen policy": witness, f"adapter v{chosen}": adapter}
    rates: dict[str, Rate] = {}
    with progress_bar(console) as bar:
        for name, candidate in candidates.items():
            row = bar.add_task(f"evaluating the {name}", total=trials, note="")

            def advance(done: int, row: TaskID = row) -> None:
                bar.update(row, completed=done)

            rates[name] = evaluate(
                task, info.method, policy, candidate, trials=trials, seed=seed, world=world, progress=advance
            )
    every = max(1, len(witness.contexts) // PROBES)
    entropies = {
        name: chunk_entropy(policy, candidate, witness.contexts[::every][:PROBES], np.random.default_rng(seed))
        for name, candidate in {**candidates, "frozen policy": witness.adapter}.items()
    }
    table = Table(
        "", "success", "95 % interval", "trials", "action entropy, nats",
        title=f"{task.title}: {info.method}, {world} world",
    )  # fmt: skip
    for name, rate in rates.items():
        low, high = rate.interval
        table.add_row(name, f"{rate.rate:.2f}", f"{low:.2f} to {high:.2f}", f"{rate.trials}", f"{entropies[name]:.1f}")
    console.print(table)
    base, final = rates.values()
    base_entropy, entropy = entropies.values()
    results: dict[str, Any] = {
        "task": task.name,
        "method": info.method,
        "run_seed": info.seed,
        "evaluation_seed": seed,
        "world": world,
        "adapter_version": chosen,
        "episodes": len(labelled_episodes(run)),
        "trials": trials,
        "base_success": base.rate,
        "base_interval": list(base.interval),
        "success": final.rate,
        "interval": list(final.interval),
        "base_action_entropy": base_entropy,
        "action_entropy": entropy,
    }
    newest = chosen == numbers(run.adapters)[-1]
    name = f"evaluation-{world}-{seed}" if newest else f"evaluation-{world}-{seed}-v{chosen}"
    write_json_results(run.results / f"{name}.json", results)
    if newest:  # the curve ends in what the run has come to
        draw_results(run, base, final)
    console.file.write(json.dumps(results) + "\n")


def chosen_version(run: RunDirectory, version: int | None) -> int:
    """`version`, or the newest. Raises `StoreError` when the run has none, or not that one."""
    known = numbers(run.adapters)
    if not known:
        raise StoreError(f"{run.path} has no adapter yet: run it first")
    chosen = version or known[-1]
    if chosen not in known:
        raise StoreError(f"{run.path} has no adapter version {chosen}: expected one of {known[0]} to {known[-1]}")
    return chosen


def draw_results(run: RunDirectory, base: Rate | None, final: Rate | None) -> None:
    """The learning curve, from the label log as it is now."""
    labels = labels_of(run)
    curve = [
        (episode, int(event.label.value is LabelValue.SUCCESS))
        for episode, event in sorted(labels.items())
        if event.label.value is not LabelValue.DISCARD
    ]
    if not curve:
        return
    info, task = run.read_info(), load_task(run.task_yaml, begun=True)
    title = f"{task.title} ({info.method}, seed {info.seed})"
    draw_curve(run.results / "curve.png", title, curve, task.method(info.method).warmup_episodes, base, final)
    history = [(version["through_episode"], version.get("losses", {})) for version in _versions(run)]
    draw_history(run.results / "learner.png", title, history, aims_of(info.method, task.method(info.method)))
    scalars = {} if base is None or final is None else {"evaluation/base": base.rate, "evaluation/adapter": final.rate}
    write_tensorboard(run.results / "tensorboard", curve, scalars, history)


def _versions(run: RunDirectory) -> Iterator[dict[str, Any]]:
    """What every adapter version says of itself, ascending; one that is damaged is left out."""
    for number in numbers(run.adapters):
        with contextlib.suppress(IntegrityError):
            yield read_weights(run.adapters, number)[1]


def aims_of(method: str, config: MethodConfig) -> dict[str, tuple[float, float]]:
    """Where a method wants the figures of its log to come to rest, low and high."""
    reads = entry_of(method).reads
    aims = {}
    if "target_entropy" in reads:
        aims["entropy"] = (config.target_entropy, config.target_entropy)
    if "trust_region" in reads:
        aims["shift_squared"] = (0.0, config.trust_region)
    if "latent_scale" in reads:
        aims |= {"latent_rms_ratio": (0.1, 0.2), "feature_shift": (0.0, 0.8)}
    return aims
