"""The authority report as a person reads it, tables and a picture, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from robot_rl.authority.interface import Interface, axis_names, display_units, is_displacement
from robot_rl.authority.reach import Reach
from robot_rl.authority.suggestions import Suggestion
from robot_rl.compositions.results import AMBER, BLUE, GREY, Rate
from robot_rl.config import TaskConfig
from robot_rl.types import PolicySpec


@dataclass(frozen=True)
class Ceiling:
    """Success of an interface's oracles, which are greedy, chunk by chunk: more may be possible."""

    sees: Rate
    """Sees what the base's own noise is, where that stays random, before it chooses."""
    blind: Rate | None
    """Chooses before the base draws, as a learnt actor does; None where the base draws nothing."""

    @property
    def of_an_actor(self) -> tuple[str, Rate]:
        """Name of the oracle that sees no more than an actor of this interface, and what it reaches: the ceiling.

        Where the base draws, it is the blind one: what is reached by who sees the draw is no actor's.
        """
        return ("sees", self.sees) if self.blind is None else ("blind", self.blind)


@dataclass(frozen=True)
class Authority:
    """All that was measured; reaches and ceilings by the interface's name."""

    task: TaskConfig
    spec: PolicySpec
    interfaces: list[Interface]
    reaches: dict[str, Reach]
    ceilings: dict[str, Ceiling]
    base: dict[str, Rate]
    """The frozen policy with the task's fault and without, its noise random or w = 0."""
    suggestions: list[Suggestion]


def show_authority(found: Authority, console: Console) -> None:
    """Three tables."""
    space = found.spec.action_space
    axes, units = axis_names(space), display_units(space)[1]
    heads = [f"{axis} {unit}" for axis, unit in zip(axes, units, strict=True)]
    table = Table(
        "interface", "dims", *heads, "one dim",
        title=f"{found.task.title}: how far a chunk can be moved, by a fresh actor (RMS) | at most in - and +",
        caption="one dim: RMS displacement by the strongest single entry of the steer at its bound",
    )  # fmt: skip
    for interface in found.interfaces:
        reach = found.reaches[interface.name]
        cells = [
            f"{rms:.1f} | -{low:.1f} +{high:.1f}" for rms, (low, high) in zip(reach.fresh, reach.most, strict=True)
        ]
        table.add_row(interface.name, str(interface.layout.size), *cells, f"{_strongest(found, reach):.1f}")
    console.print(table)

    table = Table(
        "interface", "methods", "sees the base's draw", "blind to it",
        title="success of a controller that knows the answer, 95 % Wilson interval",
        caption="bold: the ceiling, of who sees no more than an actor: that chooses before the base draws its noise",
    )  # fmt: skip
    for interface in found.interfaces:
        ceiling = found.ceilings[interface.name]
        rates = {"sees": ceiling.sees, "blind": ceiling.blind}
        cells = ["" if rate is None else escape(str(rate)) for rate in rates.values()]
        best = list(rates).index(ceiling.of_an_actor[0])
        cells[best] = f"[bold]{cells[best]}[/bold]"
        table.add_row(interface.name, ", ".join(interface.methods), *cells)
    table.add_section()
    for name, rate in found.base.items():
        table.add_row(f"frozen policy {name.replace('_', ' ')}", "", escape(str(rate)), "")
    console.print(table)

    table = Table("setting", "methods", "start with", "now", "because", title="where to start")
    for one in found.suggestions:
        table.add_row(one.setting, ", ".join(one.methods), *one.shown, one.reason)
    console.print(table)


def _strongest(found: Authority, reach: Reach) -> float:
    """Mm: of single steer entries, the largest movement of what adds up."""
    moving = is_displacement(found.spec.action_space)
    return float(np.linalg.norm(reach.per_dimension[:, moving], axis=1).max())


def to_json(found: Authority) -> dict[str, Any]:
    """One object, snake_case; mm, degrees, success in [0, 1]."""
    axes = axis_names(found.spec.action_space)
    interfaces = []
    for interface in found.interfaces:
        reach, ceiling = found.reaches[interface.name], found.ceilings[interface.name]
        entry: dict[str, Any] = {
            "interface": interface.name,
            "methods": list(interface.methods),
            "dimensions": interface.layout.size,
            "fresh_rms": {axis: round(float(value), 3) for axis, value in zip(axes, reach.fresh, strict=True)},
            "most": {
                axis: {"minus": round(float(low), 3), "plus": round(float(high), 3)}
                for axis, (low, high) in zip(axes, reach.most, strict=True)
            },
            "per_dimension": reach.per_dimension.astype(np.float64).round(3).tolist(),
            "ceiling": {"oracle": ceiling.of_an_actor[0], **_rate_json(ceiling.of_an_actor[1])},
            "oracles": {"sees": _rate_json(ceiling.sees)},
        }
        if ceiling.blind is not None:
            entry["oracles"]["blind"] = _rate_json(ceiling.blind)
        interfaces.append(entry)
    return {
        "task": found.task.name,
        "axes": list(axes),
        "units": list(display_units(found.spec.action_space)[1]),
        "interfaces": interfaces,
        "frozen_policy": {name: _rate_json(rate) for name, rate in found.base.items()},
        "start_with": [
            {
                "setting": one.setting,
                "methods": list(one.methods),
                "value": one.value,
                "now": one.now,
                "reason": one.reason,
            }
            for one in found.suggestions
        ],
    }


def _rate_json(rate: Rate) -> dict[str, Any]:
    return {"success": rate.rate, "interval": list(rate.interval), "trials": rate.trials}


def draw_authority(found: Authority, path: Path) -> None:
    """Left: how far each interface reaches; right: what its oracle makes of it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [interface.name for interface in found.interfaces]
    axes, units = axis_names(found.spec.action_space), display_units(found.spec.action_space)[1]
    shown = [i for i, axis in enumerate(axes) if axis != "gripper"]
    figure, panels = pyplot.subplots(
        1, len(shown) + 1, figsize=(4.5 + 2.6 * (len(shown) + 1), 1.6 + 0.5 * len(names)), dpi=130,
        layout="constrained", sharey=True, width_ratios=[*[1.0] * len(shown), 1.6],
    )  # fmt: skip
    rows = np.arange(len(names))[::-1]
    # What is unbounded would leave nothing to see of the others: the axis ends at twice the largest of those.
    sizes = np.array([found.reaches[name].most[shown].max() for name in names])
    bounded = [i.layout.residual_size == 0 or "±" in i.name for i in found.interfaces]
    limit = 1.3 * float(sizes[bounded].max() if any(bounded) else sizes.max())
    for panel, i in zip(panels, shown, strict=False):
        for row, name in zip(rows, names, strict=True):
            low, high = found.reaches[name].most[i]
            panel.barh(row, low + high, left=-low, height=0.55, color=BLUE, alpha=0.45)
            rms = found.reaches[name].fresh[i]
            panel.plot([-rms, rms], [row, row], color=BLUE, lw=3, solid_capstyle="butt")
            if max(low, high) > limit:
                panel.text(limit, row + 0.3, f"±{max(low, high):.0f} ", ha="right", va="bottom", fontsize=7, color=GREY)
        panel.set(xlim=(-limit, limit), xlabel=f"{axes[i]}, {units[i]} a chunk")
        panel.axvline(0, color=GREY, lw=0.8)
    ceilings = panels[-1]
    for row, interface in zip(rows, found.interfaces, strict=True):
        ceiling = found.ceilings[interface.name]
        for rate, colour, up in ((ceiling.sees, BLUE, 0.12), (ceiling.blind, AMBER, -0.12)):
            if rate is not None:
                low, high = rate.interval
                ceilings.plot([low, high], [row + up, row + up], color=colour, lw=2)
                ceilings.plot([rate.rate], [row + up], "D", color=colour, ms=5)
    for name, style in (("with_fault_random_noise", "--"), ("without_fault_random_noise", ":")):
        label = f"frozen policy, {name.removesuffix('_random_noise').replace('_', ' ')}"
        ceilings.axvline(found.base[name].rate, color=GREY, ls=style, lw=1.5, label=label)
    ceilings.plot([], [], "D-", color=BLUE, label="oracle that sees the base's noise")
    ceilings.plot([], [], "D-", color=AMBER, label="oracle that is blind to it")
    ceilings.set(xlim=(-0.03, 1.03), xlabel="success")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    panels[0].set_yticks(rows, [f"{i.name}\n{', '.join(i.methods) or 'to compare'}" for i in found.interfaces])
    for panel in panels:
        panel.tick_params(axis="y", labelsize=8, length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(f"{found.task.title}: reach (bar: at most, line: fresh actor) and what could be done with it")
    figure.savefig(path)
    pyplot.close(figure)
