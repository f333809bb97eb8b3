"""What a benchmark's cells say together: means over seeds, intervals, paired differences, a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table
from scipy import stats

from benchmarks.cells import Cell, Results
from benchmarks.intervals import over_seeds, pooled
from robot_rl.compositions.results import Rate

Ceilings = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Task -> method -> its ceiling (`cells.run_ceilings`)."""
FIGURES = ("actor_value", "shift_squared", "multiplier", "latent_rms_ratio", "latent_mahalanobis", "feature_shift")
"""Of a learner's log: by them one sees whether a critic, a trust region or a latent's scale is as it should be."""
REFERENCE = "usr"
"""The method that the others are compared with, seed by seed."""
NAMES: Mapping[str, str] = {
    "usr": "USR",
    "usr-sac": "USR-SAC (single critic)",
    "policy-decorator": "Policy Decorator",
    "dsrl-na": "DSRL-NA",
    "dsrl-sac": "DSRL-SAC",
    "zprl": "ZPRL (four latent axes)",
    "lp-ds": "LP-DS (tied noise, δ 4)",
    "lp-ds:paper": "LP-DS as in the paper",
    "residual-rl": "residual RL, unbounded",
    "rlpd": "RLPD from scratch",
}
"""As people say it."""


def summarise(results: Results, ceilings: Ceilings | None = None) -> dict[str, Any]:
    """Per task and method: mean and worst over seeds, its interval; what USR is better by, paired by seed.

    With the entropy of its chunks, and those `FIGURES` that its learner logs, means over seeds; which seeds the guard
    stopped for good, and after how many episodes, and where learning diverged; with `ceilings` also what its oracle
    reaches.
    """
    summary: dict[str, Any] = {}
    for task, methods in grouped(results).items():
        rates = {}
        for method, cells in methods.items():
            rates[method] = np.array([float(results[cell]["success"]) for cell in cells])
            key = key_of(task, method)
            summary |= {
                f"{key}_mean": float(rates[method].mean()),
                f"{key}_min": float(rates[method].min()),
                f"{key}_seeds": rates[method].tolist(),
                f"{key}_interval": list(over_seeds(_rates(results, cells, "success"))),
                f"{task}_episodes": cells[0].episodes,
                f"{task}_trials_per_seed": cells[0].trials,
                f"{key}_action_entropy": float(np.mean([results[cell]["action_entropy"] for cell in cells])),
            }
            logs = [results[cell]["log"] for cell in cells]
            summary |= {
                f"{key}_{name}": float(np.mean([log[name] for log in logs])) for name in FIGURES if name in logs[0]
            }
            latched = {cell.seed: len(results[cell]["curve"]) for cell in cells if results[cell].get("latched")}
            if latched:
                summary[f"{key}_latched_after"] = latched
            if diverged := [cell.seed for cell in cells if results[cell].get("diverged")]:
                summary[f"{key}_diverged_seeds"] = diverged
            ceiling = (ceilings or {}).get(task, {}).get(method)
            if ceiling is not None:
                summary |= {f"{key}_ceiling": ceiling["success"], f"{key}_ceiling_interval": ceiling["interval"]}
                summary[f"{key}_ceiling_oracle"] = ceiling["oracle"]
                summary |= {f"{key}_ceiling_seeing": ceiling["seeing"]} if "seeing" in ceiling else {}
        everything = [cell for cells in methods.values() for cell in cells]
        base = pooled(_rates(results, everything, "base_success"))
        # The same starts are tried once for every method: the interval must not count them again.
        once = pooled(_rates(results, next(iter(methods.values())), "base_success"))
        summary |= {f"{task}_base": base.rate, f"{task}_base_interval": list(once.interval)}
        summary[f"{task}_base_action_entropy"] = float(np.mean([results[c]["base_action_entropy"] for c in everything]))
        for method in set(rates) - {REFERENCE} if REFERENCE in rates else ():
            mine, theirs = (
                {cell.seed: float(results[cell]["success"]) for cell in methods[m]} for m in (REFERENCE, method)
            )
            difference = np.array([mine[seed] - theirs[seed] for seed in mine if seed in theirs])
            if len(difference) > 1:
                key = f"{task}_usr_minus_{method_key(method)}"
                margin = stats.t.ppf(0.95, len(difference) - 1) * stats.sem(difference)
                summary |= {key: float(difference.mean()), f"{key}_lower_95": float(difference.mean() - margin)}
    return summary


def method_key(method: str) -> str:
    """An entry's name in snake_case."""
    return method.replace("-", "_").replace(":", "_")


def key_of(task: str, method: str) -> str:
    """Before every figure of a task's method."""
    return f"{task}_{method_key(method)}"


def table(results: Results, summary: Mapping[str, Any]) -> Table:
    """A row a task and method."""
    made = Table(
        "task", "method", "frozen policy", "mean", "worst seed", "95 % interval", "seeds", "entropy, nats",
        "ceiling", "its interface", "ceiling if it saw the noise",
    )  # fmt: skip
    for task, methods in grouped(results).items():
        for method in methods:
            key = key_of(task, method)
            made.add_row(
                task,
                method,
                f"{summary[f'{task}_base']:.2f}",
                f"{summary[f'{key}_mean']:.2f}",
                f"{summary[f'{key}_min']:.2f}",
                "{:.2f} to {:.2f}".format(*summary[f"{key}_interval"]),
                " ".join(f"{value:.2f}" for value in summary[f"{key}_seeds"]),
                f"{summary[f'{key}_action_entropy']:.0f}",
                f"{summary[f'{key}_ceiling']:.2f}" if f"{key}_ceiling" in summary else "",
                summary.get(f"{key}_ceiling_oracle", ""),
                f"{summary[f'{key}_ceiling_seeing']:.2f}" if f"{key}_ceiling_seeing" in summary else "",
            )
    return made


def grouped(results: Results) -> dict[str, dict[str, list[Cell]]]:
    """Task -> method -> its cells, one a seed."""
    grouped: dict[str, dict[str, list[Cell]]] = {}
    for cell in results:
        grouped.setdefault(cell.task, {}).setdefault(cell.method, []).append(cell)
    return grouped


def _rates(results: Results, cells: list[Cell], figure: str) -> list[Rate]:
    """One a seed."""
    return [Rate(round(float(results[cell][figure]) * cell.trials), cell.trials) for cell in cells]
