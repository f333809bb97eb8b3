"""How the studies draw: a row of panels, curves with the spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.compositions.results import moving_average


def figure(rows: int, columns: int, *, width: float = 10.0, height: float = 3.3) -> tuple[Any, list[Any]]:
    """A sheet and its panels, row by row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (width, height * rows)
    sheet, panels = pyplot.subplots(rows, columns, figsize=size, dpi=110, layout="constrained", squeeze=False)
    for panel in panels.flat:
        panel.spines[["top", "right"]].set_visible(False)
        panel.title.set_fontsize(9)
        panel.tick_params(labelsize=8)
    return sheet, list(panels.flat)


def with_band(panel: Any, curves: Sequence[Sequence[int]], window: int, colour: str, label: str) -> None:
    """Mean over seeds of the outcomes' moving averages; the band spans the seeds."""
    smooth = np.array([moving_average(curve, window) for curve in curves])
    episodes = np.arange(1, smooth.shape[1] + 1)
    panel.plot(episodes, smooth.mean(0), color=colour, lw=1.8, label=label)
    panel.fill_between(episodes, smooth.min(0), smooth.max(0), color=colour, alpha=0.13, lw=0)


def points(panel: Any, x: float, values: Sequence[float], colour: str, label: str | None = None) -> None:
    """A point a seed, a line for their mean."""
    panel.scatter([x] * len(values), values, color=colour, s=16, label=label)
    panel.hlines(float(np.mean(values)), x - 0.3, x + 0.3, color=colour)


def save(sheet: Any, path: Path) -> None:
    """Write the PNG, without a stamp of when: the same data is the same file."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.savefig(path, metadata={"Software": None})
    pyplot.close(sheet)
