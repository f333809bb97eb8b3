"""What a run or an evaluation shows: success rates with their intervals, a learning curve as PNG, JSON, TensorBoard."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import StoreError
from robot_rl.store.files import atomic_write, read_json
from robot_rl.types import Array

log = logging.getLogger(__name__)

WINDOW = 20
"""Episodes of the moving average."""
History = Sequence[tuple[int, Mapping[str, float]]]
"""(episode, name -> figure) of a learner's versions."""
BLUE, GREY, AMBER = "#2f7f8c", "#8a9096", "#d9a02c"


@dataclass(frozen=True)
class Rate:
    """A success rate and its 95 % Wilson score interval."""

    successes: int
    trials: int

    @property
    def rate(self) -> float:
        """Successes / trials."""
        return self.successes / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high), Wilson 1927."""
        from scipy.stats import binomtest  # half a second, which most commands need not wait for

        ends = binomtest(self.successes, self.trials).proportion_ci(0.95, method="wilson")
        return float(ends.low), float(ends.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rate:.2f} [{low:.2f}, {high:.2f}] ({self.successes}/{self.trials})"


def moving_average(outcomes: Sequence[int], window: int = WINDOW) -> Array:
    """[n] mean of the last `window` outcomes up to each episode (fewer at the beginning)."""
    total = np.cumsum([0, *outcomes])
    end = np.arange(1, len(outcomes) + 1)
    start = np.maximum(0, end - window)
    average: Array = (total[end] - total[start]) / (end - start)
    return average


def write_json_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write `results`, whole or not at all."""
    atomic_write(path, (json.dumps(results, indent=2, sort_keys=True) + "\n").encode())


def draw_curve(
    path: Path, title: str, curve: Sequence[tuple[int, int]], warmup: int, base: Rate | None, final: Rate | None
) -> None:
    """The learning curve as a PNG: outcomes, their moving average, the base policy's rate, the evaluated end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.2), dpi=130, layout="constrained")
    episodes = np.array([episode for episode, _ in curve])
    outcomes = np.array([value for _, value in curve])
    axes.scatter(episodes, outcomes, s=14, color=np.where(outcomes > 0, BLUE, AMBER), alpha=0.7, zorder=2)
    axes.plot(
        episodes,
        moving_average(list(outcomes)),
        color=BLUE,
        lw=2.2,
        label=f"while training, mean of {WINDOW}",
        zorder=3,
    )
    if warmup:
        axes.axvspan(0.5, warmup + 0.5, color=GREY, alpha=0.12, lw=0)
        axes.text(warmup / 2 + 0.5, 1.06, "warm-up", ha="center", va="center", color=GREY, fontsize=8)
    if base is not None:
        axes.axhline(base.rate, color=GREY, ls="--", lw=1.5, label=f"frozen policy {base}")
        axes.axhspan(*base.interval, color=GREY, alpha=0.15, lw=0)
    if final is not None:
        low, high = final.interval
        right = float(episodes.max()) + 2.5
        bars = [[final.rate - low], [high - final.rate]]
        axes.errorbar(
            [right], [final.rate], yerr=bars, fmt="D", color="black", capsize=4, label=f"evaluated {final}", zorder=4
        )
    axes.set(xlabel="episode", ylabel="success", ylim=(-0.08, 1.12), title=title)
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def draw_history(path: Path, title: str, history: History, aims: Mapping[str, tuple[float, float]]) -> None:
    """What the learner said of itself, a panel for each figure; `aims`: figure -> the range in which it should lie."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = sorted({name for _, figures in history for name in figures})
    if not names:
        return
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(3 * columns, 2.1 * rows), dpi=130, layout="constrained", squeeze=False, sharex=True
    )
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    for panel, name in zip(panels.flat, names, strict=False):
        points = [(episode, figures[name]) for episode, figures in history if name in figures]
        panel.plot(*zip(*points, strict=True), color=BLUE, lw=1.5)
        if name in aims:
            low, high = aims[name]
            panel.axhspan(low, high, color=GREY, alpha=0.15, lw=0)
            for end in {low, high}:
                panel.axhline(end, color=GREY, ls="--", lw=1.2)
        panel.set_title(name.replace("_", " "), fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("episode", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def write_tensorboard(
    folder: Path, curve: Sequence[tuple[int, int]], scalars: Mapping[str, float], history: History = ()
) -> None:
    """The same curves for TensorBoard; steps are episodes."""
    # TensorBoard's own writer: torch's wrapper of it costs the command the seconds in which torch is imported.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))

    def add(name: str, value: float, episode: int) -> None:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=float(value))])
        writer.add_event(Event(wall_time=time.time(), step=episode, summary=summary))

    try:
        for (episode, value), mean in zip(curve, moving_average([v for _, v in curve]), strict=True):
            add("success/episode", value, episode)
            add(f"success/mean_{WINDOW}", mean, episode)
        for name, scalar in scalars.items():
            add(name, scalar, curve[-1][0] if curve else 0)
        for episode, figures in history:
            for name, figure in figures.items():
                add(f"learner/{name}", figure, episode)
    finally:
        writer.close()


def known_rate(path: Path, measured: Mapping[str, Any]) -> Rate | None:
    """The frozen policy's, as an earlier start of the run wrote it, if that says what it measured and how."""
    if not path.exists():
        return None
    try:
        found = read_json(path)
    except StoreError as error:
        log.warning("the frozen policy is measured anew: %s", error)
        return None
    successes = found.pop("successes", None)
    if found == measured and isinstance(successes, int) and 0 <= successes <= measured["trials"]:
        return Rate(successes, measured["trials"])
    log.warning("the frozen policy is measured anew: %s is not about this policy and these starts", path)
    return None
