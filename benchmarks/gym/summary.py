"""What came of the cells: a table, a picture, figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Column, Table

from benchmarks.gym.cells import slug
from benchmarks.gym.settings import SETTINGS
from benchmarks.intervals import half_width
from benchmarks.studies.pictures import figure, save
from benchmarks.studies.study import figures_of
from robot_rl.compositions.results import WINDOW, moving_average

Result = Mapping[str, Any]
"""What a cell gave."""
PARTS = ("velocity", "acceleration")
"""Of a motion."""
SEEDS = 5
"""Of a table, unless it is asked for another number."""
ALONE = ("interval", "trials", "imperfection")
"""What is said of a frozen policy beside its success."""


def grouped(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """(environment, method) -> what its seeds gave, in order."""
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result["env"], result["method"]), []).append(result)
    return found


def of_frozen(alone: Result) -> dict[str, Any]:
    """What `benchmarks.gym.cells.frozen_alone` gave, as figures."""
    name = slug(alone["env"]).replace("-", "_")
    return {f"{name}_base_success": alone["success"], **{f"{name}_{part}": alone[part] for part in ALONE}}


def summarise(results: Iterable[Result]) -> dict[str, Any]:
    """Snake_case name -> figure."""
    found: dict[str, Any] = {}
    for (env, method), seeds in grouped(results).items():
        name = f"{slug(env)}_{slug(method)}".replace("-", "_")
        found |= figures_of(f"{name}_success", of(seeds, "success"))
        if len(seeds) == 1:
            found[f"{name}_success_half_width_95"] = None  # one seed has no interval
        found |= {
            f"{name}_base_success_mean": float(np.mean(of(seeds, "base_success"))),
            f"{name}_seeds_improved": improved(seeds),
            f"{name}_seeds_clearly_improved": sum(one["interval"][0] > one["base_interval"][1] for one in seeds),
            **{f"{name}_exploring_{part}_ratio": moves(seeds, seeds, "base_motion").mean(part) for part in PARTS},
        }
    return found


def of(seeds: Sequence[Result], name: str) -> list[float]:
    """One figure of each seed."""
    return [one[name] for one in seeds]


@dataclass(frozen=True)
class Moves:
    """How one method commands, as shares of what another does, seed by seed."""

    starts: dict[int, int]
    """Seed -> starts on which both succeed; of seeds that have such, on the same frozen policy."""
    shares: dict[str, list[float]]
    """Velocity and acceleration -> a share for each of these seeds, of the means over its starts."""

    def mean(self, part: str) -> float | None:
        """Over seeds; None: there are none."""
        return float(np.mean(self.shares[part])) if self.starts else None

    def change(self, part: str) -> str:
        """In words: of the mean, with half of its 95 % interval."""
        half = half_width(self.shares[part])
        return f"{100 * (np.mean(self.shares[part]) - 1):+.0f}{'' if half is None else f' +- {100 * half:.0f}'} %"

    def lower(self, part: str) -> bool:
        """Whether it is, as far as the seeds can tell."""
        half = half_width(self.shares[part])
        return half is not None and bool(np.mean(self.shares[part]) + half < 1)


def moves(ours: Sequence[Result], theirs: Sequence[Result], motion: str) -> Moves:
    """How a method commands while it explores, as shares of their `motion`."""
    others = {(one["seed"], one["policy"]): one.get(motion) or [] for one in theirs}
    starts: dict[int, int] = {}
    shares: dict[str, list[float]] = {part: [] for part in PARTS}
    for one in ours:
        both = zip(one.get("exploring_motion") or [], others.get((one["seed"], one["policy"]), []), strict=False)
        pairs = [pair for pair in both if None not in pair]
        if pairs:
            starts[one["seed"]] = len(pairs)
            mean = np.mean(pairs, axis=0)  # [2, 2]: ours and theirs; velocity and acceleration
            for number, part in enumerate(PARTS):
                shares[part].append(float(mean[0, number] / mean[1, number]))
    return Moves(starts, shares)


def mixed(results: Iterable[Result]) -> list[str]:
    """In words, which environments' cells are not of one frozen policy."""
    policies: dict[str, set[str]] = {}
    for result in results:
        policies.setdefault(result["env"], set()).add(result["policy"])
    return [
        f"{env}: its cells are of {len(several)} frozen policies, each compared with its own"
        for env, several in policies.items()
        if len(several) > 1
    ]


def improved(seeds: Sequence[Result]) -> int:
    """In how many the adapter succeeded more often than the frozen policy, on the same starts."""
    return sum(one["success"] > one["base_success"] for one in seeds)


def gain(seeds: Sequence[Result]) -> tuple[float, float | None]:
    """Success above the frozen policy's, on the same starts: the mean, and half of its 95 % interval over seeds."""
    gains = [one["success"] - one["base_success"] for one in seeds]
    return float(np.mean(gains)), half_width(gains)


def gain_in_words(seeds: Sequence[Result]) -> str:
    """Of `gain`."""
    mean, half = gain(seeds)
    return f"{mean:+.2f}" + ("" if half is None else f" +- {half:.2f}")


def worse(seeds: Sequence[Result]) -> bool:
    """Whether the adapter is worse than the frozen policy, as far as the seeds can tell."""
    mean, half = gain(seeds)
    return half is not None and mean + half < 0


def table(results: Iterable[Result]) -> Table:
    """A row for each environment and method."""
    shown = Table(
        Column("environment", overflow="fold"),
        *("method", "frozen", Column("adapter, by seed", no_wrap=True), "mean", "gain", "better", "velocity", "accel."),
        title="success in trials that were never trained on; velocity and acceleration as commanded while exploring, "
        "as shares of the frozen policy's, on starts on which both succeed, mean over seeds",
    )
    for (env, method), seeds in grouped(results).items():
        base = [one["base_success"] for one in seeds]
        moved = moves(seeds, seeds, "base_motion")
        some = len(moved.starts)
        of_some = "" if some == len(seeds) else f" ({some} of {len(seeds)} seeds)"
        shown.add_row(
            env,
            method,
            f"{np.mean(base):.2f}",
            " ".join(f"{one['success']:.2f}" for one in seeds),
            f"{np.mean(of(seeds, 'success')):.2f}",
            gain_in_words(seeds),
            f"{improved(seeds)} of {len(seeds)}",
            *("-" if (share := moved.mean(part)) is None else f"{share:.2f}{of_some}" for part in PARTS),
        )
    return shown


def draw(results: Sequence[Result], path: Path) -> None:
    """Training curves by environment, a line a method with its seeds' spread; dashed: the frozen policy."""
    groups = grouped(results)
    envs = list(dict.fromkeys(env for env, _ in groups))
    sheet, panels = figure(-(-len(envs) // 2), min(2, len(envs)), width=6.2 * min(2, len(envs)), height=3.4)
    for unused in panels[len(envs) :]:
        unused.remove()
    for panel, env in zip(panels, envs, strict=False):
        methods = [method for one, method in groups if one == env]
        for method in methods:
            color = f"C{list(SETTINGS).index(method)}"  # the same in every panel
            curves = np.array([moving_average(one["curve"]) for one in groups[env, method]])
            episodes = np.arange(1, curves.shape[1] + 1)
            label = method if len(curves) > 1 else f"{method} (1 seed)"
            panel.plot(episodes, curves.mean(0), color=color, label=label)
            panel.fill_between(episodes, curves.min(0), curves.max(0), color=color, alpha=0.15, lw=0)
            final = of(groups[env, method], "success")
            panel.scatter([curves.shape[1] * 1.03] * len(final), final, s=10, color=color)
        base = np.mean([result["base_success"] for result in results if result["env"] == env])
        panel.axhline(base, color="#8a9096", ls="--", lw=1, label="frozen policy")
        panel.set(title=env, xlabel=f"episode (mean of {WINDOW}; band: all seeds; dots: judged)", ylim=(0, 1.03))
        panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        panel.set_ylabel("success")
    save(sheet, path)
