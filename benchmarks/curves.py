"""How a benchmark's cells learnt and what was evaluated, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Results
from benchmarks.summary import NAMES, grouped, key_of
from robot_rl.compositions.results import GREY, WINDOW, moving_average

COLOURS = {method: f"C{number}" for number, method in enumerate(NAMES)}
"""The same in every picture."""


def draw(results: Results, summary: Mapping[str, Any], path: Path) -> None:
    """A row a task: how often the newest episodes of training succeeded, and what was evaluated, beside the ceilings.

    A curve is the mean over seeds of moving averages (with a thin line for each seed where they would not hide each
    other), dotted from where a run was stopped on.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = grouped(results)
    figure, rows = pyplot.subplots(
        len(tasks), 2, figsize=(11, 4 * len(tasks)), dpi=130, layout="constrained", squeeze=False, width_ratios=(1.3, 1)
    )
    for (training, evaluated), (task, methods) in zip(rows, tasks.items(), strict=True):
        base, base_interval = summary[f"{task}_base"], summary[f"{task}_base_interval"]
        for panel in (training, evaluated):
            panel.axhline(base, color=GREY, ls="--", lw=1.2, label=f"frozen policy {base:.2f}")
            panel.axhspan(*base_interval, color=GREY, alpha=0.15, lw=0)
            panel.set_ylim(-0.03, 1.03)
            panel.spines[["top", "right"]].set_visible(False)
        for place, (method, cells) in enumerate(methods.items()):
            colour = COLOURS.get(method, f"C{place % 10}")
            _draw_curves(
                training, [[won for _, won in results[cell]["curve"]] for cell in cells], colour, len(methods) <= 3
            )
            ends, key = [float(results[cell]["success"]) for cell in cells], key_of(task, method)
            evaluated.plot(
                [place] * 2, summary[f"{key}_interval"], color=colour, lw=5, alpha=0.3, solid_capstyle="butt"
            )
            evaluated.scatter(place + np.linspace(-0.2, 0.2, len(ends)), ends, color=colour, s=14, zorder=3)
            if f"{key}_ceiling" in summary:
                ceiling = summary[f"{key}_ceiling"]
                evaluated.hlines(ceiling, place - 0.36, place + 0.36, color="black", lw=1.4, label="ceiling")
        training.set(
            title=f"{task}, while training: newest {WINDOW} episodes, mean of seeds", xlabel="episode", ylabel="success"
        )
        evaluated.set_title("evaluated: a dot a seed, bar: interval")
        evaluated.set_xticks(range(len(methods)), list(methods), rotation=40, ha="right")
        for label, method in zip(evaluated.get_xticklabels(), methods, strict=True):
            label.set_color(COLOURS.get(method, "black"))
        lines = dict(zip(*reversed(evaluated.get_legend_handles_labels()), strict=True))  # one for all ceilings
        evaluated.legend(lines.values(), lines.keys(), fontsize=8, frameon=False, loc="lower left")
        for panel in (training, evaluated):
            panel.title.set_fontsize(10)
    figure.savefig(path)
    pyplot.close(figure)


def _draw_curves(panel: Any, outcomes: Sequence[Sequence[int]], colour: str, each: bool) -> None:
    curves = [moving_average(one) for one in outcomes]
    shortest, longest = min(map(len, curves)), max(map(len, curves))
    mean = np.nanmean([np.pad(one, (0, longest - len(one)), constant_values=np.nan) for one in curves], axis=0)
    episodes = np.arange(1, longest + 1, dtype=float)
    episodes[: min(WINDOW // 2, longest) - 1] = np.nan  # the mean of a few says little
    for one in curves if each else ():
        panel.plot(episodes[: len(one)], one, color=colour, lw=0.7, alpha=0.4)
    panel.plot(episodes[:shortest], mean[:shortest], color=colour, lw=2.0)
    panel.plot(episodes[shortest - 1 :], mean[shortest - 1 :], color=colour, lw=1.2, ls=":")
