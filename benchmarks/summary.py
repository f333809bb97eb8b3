"""What a benchmark's cells say together: means over seeds, intervals, paired differences, a table and curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy import stats

from benchmarks.cells import Cell, Results
from robot_rl.compositions.results import Rate, moving_average

Ceilings = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Task -> method -> its ceiling (`cells.run_ceilings`)."""
FIGURES = ("actor_value", "shift_squared", "multiplier", "latent_rms_ratio", "latent_mahalanobis", "feature_shift")
"""Of a learner's log: by them one sees whether a critic, a trust region or a latent's scale is as it should be."""
REFERENCE = "usr"
"""The method that the others are compared with, seed by seed."""


def summarise(results: Results, ceilings: Ceilings | None = None) -> dict[str, Any]:
    """Per task and method: mean and worst over seeds, pooled Wilson interval; what USR is better by, paired by seed.

    With the entropy of its chunks, and those `FIGURES` that its learner logs, means over seeds; which seeds the guard
    stopped for good; with `ceilings` also what its oracle reaches.
    """
    summary: dict[str, Any] = {}
    for task, methods in _cells(results).items():
        rates = {}
        for method, cells in methods.items():
            rates[method] = np.array([float(results[cell]["success"]) for cell in cells])
            key = key_of(task, method)
            summary |= {
                f"{key}_mean": float(rates[method].mean()),
                f"{key}_min": float(rates[method].min()),
                f"{key}_seeds": rates[method].tolist(),
                f"{key}_interval": list(_pooled(results, cells, "success").interval),
                f"{task}_episodes": cells[0].episodes,
                f"{task}_trials_per_seed": cells[0].trials,
                f"{key}_action_entropy": float(np.mean([results[cell]["action_entropy"] for cell in cells])),
            }
            logs = [results[cell]["log"] for cell in cells]
            summary |= {
                f"{key}_{name}": float(np.mean([log[name] for log in logs])) for name in FIGURES if name in logs[0]
            }
            latched = [cell.seed for cell in cells if results[cell].get("latched")]
            if latched:
                summary[f"{key}_latched_seeds"] = latched
            ceiling = (ceilings or {}).get(task, {}).get(method)
            if ceiling is not None:
                summary |= {f"{key}_ceiling": ceiling["success"], f"{key}_ceiling_interval": ceiling["interval"]}
                summary[f"{key}_ceiling_oracle"] = ceiling["oracle"]
                summary |= {f"{key}_ceiling_seeing": ceiling["seeing"]} if "seeing" in ceiling else {}
        everything = [cell for cells in methods.values() for cell in cells]
        base = _pooled(results, everything, "base_success")
        # The same starts are tried once for every method: the interval must not count them again.
        once = _pooled(results, next(iter(methods.values())), "base_success")
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
        "task", "method", "frozen policy", "mean", "worst seed", "95 % interval, pooled", "seeds", "entropy, nats",
        "ceiling", "oracle", "if it saw the draw",
    )  # fmt: skip
    for task, methods in _cells(results).items():
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


def draw(results: Results, path: Path) -> None:
    """Training curves (a thin moving average for each seed, their mean thick) and evaluated ends, a panel a task.

    A run that was stopped counts in the mean as long as it went on.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = _cells(results)
    figure, panels = pyplot.subplots(
        1, len(tasks), figsize=(6.4 * len(tasks), 4), dpi=130, layout="constrained", squeeze=False
    )
    for panel, (task, methods) in zip(panels[0], tasks.items(), strict=True):
        for number, (method, cells) in enumerate(methods.items()):
            colour = f"C{number}"
            curves = [moving_average([value for _, value in results[cell]["curve"]]) for cell in cells]
            longest = max(len(curve) for curve in curves)
            padded = [np.pad(curve, (0, longest - len(curve)), constant_values=np.nan) for curve in curves]
            if len(methods) <= 3:  # more would hide each other
                for curve in curves:
                    panel.plot(np.arange(1, len(curve) + 1), curve, color=colour, lw=0.7, alpha=0.4)
            panel.plot(np.arange(1, longest + 1), np.nanmean(padded, axis=0), color=colour, lw=2.0, label=method)
            ends = [results[cell]["success"] for cell in cells]
            panel.scatter([longest + 3 + 2 * number] * len(ends), ends, color=colour, marker="D", s=20)
        base = np.mean([results[cell]["base_success"] for cells in methods.values() for cell in cells])
        panel.axhline(base, color="#8a9096", ls="--", label=f"frozen policy {base:.2f}")
        panel.set(
            title=f"{task}: while training (lines), evaluated (diamonds)",
            xlabel="episode",
            ylabel="success",
            ylim=(-0.03, 1.03),
        )
        aside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if len(methods) > 4 else {"loc": "upper left"}
        panel.legend(fontsize=8, frameon=False, **aside)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    pyplot.close(figure)


def _cells(results: Results) -> dict[str, dict[str, list[Cell]]]:
    """Task -> method -> its cells, one a seed."""
    grouped: dict[str, dict[str, list[Cell]]] = {}
    for cell in results:
        grouped.setdefault(cell.task, {}).setdefault(cell.method, []).append(cell)
    return grouped


def _pooled(results: Results, cells: list[Cell], figure: str) -> Rate:
    """One rate over the trials of all seeds."""
    return Rate(round(sum(float(results[c][figure]) * c.trials for c in cells)), sum(c.trials for c in cells))
