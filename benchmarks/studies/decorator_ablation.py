"""Policy Decorator figure 9: residual learning with and without a bound, with and without progressive exploration.

The problem is `plane.reach`: a bin that is seen 8.5 mm off where it is, a success to come within 8 mm of it in 24
steps. A residual per step, as in the paper, is bounded by 4 mm of the 20 mm that an action may be, or not bounded but
by the actions' own range, and is tried from the first episode on, or with a chance that rises to 1 over 150 chunks.
All four by Policy Decorator with the same settings otherwise; the warm-up is in the gate's hands, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies import plane
from benchmarks.studies.lockstep import base_adapter, success_rate, train, trials
from benchmarks.studies.pictures import figure, points, save, with_band
from benchmarks.studies.study import Data, Study, Verdict, figures_of, words
from robot_rl.config import MethodConfig
from robot_rl.task_files import method_config

ERROR_M = (0.006, -0.006)
BOUND_M, PROGRESS = 0.004, 150
EPISODES, TRIALS, WINDOW, WARMUP = 80, 50, 20, 10
WAYS = {
    "neither": "residual alone",
    "progressive": "progressive alone",
    "bounded": "bounded alone",
    "both": "both",
}


def settings(way: str) -> MethodConfig:
    """Of Policy Decorator in one of the `WAYS`."""
    bound = BOUND_M if way in ("bounded", "both") else plane.FASTEST_M
    return method_config(
        "policy-decorator",
        hidden=64,
        layers=2,
        batch=64,
        warmup_episodes=WARMUP,
        utd=2,
        gamma=0.9,
        learning_rate=1e-3,
        actor_learning_rate=1e-3,
        residual_layout="per_step",
        residual_scale=(bound, bound, 0.0),
        residual_horizon=PROGRESS if way in ("progressive", "both") else 0,
        target_entropy=-2.0 * plane.T,
    )


def run(seeds: Sequence[int], quick: bool) -> Data:
    """Success and curves by way and seed."""
    episodes, count = (6, 3) if quick else (EPISODES, TRIALS)
    world = plane.reach(quick, error_m=ERROR_M)
    data: dict[str, Any] = {"seeds": list(seeds), "success": {}, "curves": {}}
    data["base_success"] = [success_rate(trials(world, base_adapter(world), count, seed)) for seed in seeds]
    for way in WAYS:
        runs = [train(world, "policy-decorator", settings(way), seed, episodes, quick=quick) for seed in seeds]
        data["curves"][way] = [one.curve for one in runs]
        data["success"][way] = [
            success_rate(trials(world, one.adapter, count, seed)) for one, seed in zip(runs, seeds, strict=True)
        ]
    return data


def figures(data: Data) -> dict[str, Any]:
    """Success at the end, the gain, and the share of training episodes that succeeded: the area under the curve."""
    found = figures_of("base_success", data["base_success"])
    for way in WAYS:
        found |= figures_of(f"{way}_success", data["success"][way])
        found |= figures_of(f"{way}_gain", np.subtract(data["success"][way], data["base_success"]).tolist())
        found |= figures_of(f"{way}_training_success", [float(np.mean(curve)) for curve in data["curves"][way]])
        found |= figures_of(f"{way}_warmup_success", [float(np.mean(curve[:WARMUP])) for curve in data["curves"][way]])
    return found


def judge(found: Mapping[str, Any]) -> list[Verdict]:
    """Figure 9."""
    mean = {way: found[f"{way}_success_mean"] for way in WAYS}
    base = found["base_success_mean"]
    alone, essential = mean["neither"] < base + 0.1, mean["both"] > mean["progressive"] + 0.1
    improves = mean["both"] > base + 0.1
    low, high = (
        found[f"{way}_training_success_mean"] + sign * found[f"{way}_training_success_half_width_95"]
        for way, sign in (("both", -1), ("bounded", 1))
    )
    efficient = low > high
    listed = ", ".join(f"{words(found, f'{way}_success')} {name}" for way, name in WAYS.items())
    area = ", ".join(f"{words(found, f'{way}_training_success')} {name}" for way, name in WAYS.items())
    return [
        Verdict(
            "that residual learning alone does not improve the policy enough, and that a bound is essential (Policy "
            "Decorator, figure 9)",
            f"success {listed}; the frozen policy {words(found, 'base_success')}",
            alone and essential and improves,
            _because_of_bound(found, alone, essential, improves),
            in_part=essential and improves,
        ),
        Verdict(
            "that progressive exploration adds sample efficiency to a bounded residual (Policy Decorator, figure 9)",
            f"share of training episodes that succeeded: {area}",
            efficient,
            "the policy's own successes come before the residual is known" if efficient else _because_of_gate(found),
        ),
    ]


def _because_of_bound(found: Mapping[str, Any], alone: bool, essential: bool, improves: bool) -> str:
    if not improves:
        return "both together do not improve the policy"
    if not essential:
        return "with progressive exploration no bound is needed"
    gained = f"{words(found, 'neither_gain')}, both together {words(found, 'both_gain')}"
    tried = f"while it is tried {words(found, 'neither_training_success')} of its training episodes succeed"
    if alone:
        return f"an unbounded residual ends near where it began: it gains {gained}; {tried}"
    return f"a bound makes most of the difference, and a residual alone gains something too: {gained}; {tried}"


def _because_of_gate(found: Mapping[str, Any]) -> str:
    if found["both_training_success_mean"] >= found["bounded_training_success_mean"]:
        return "it is ahead by no more than seeds differ"
    low = found["bounded_warmup_success_mean"] - found["bounded_warmup_success_half_width_95"]
    helps = low > found["base_success_mean"]
    return (
        "there is nothing to protect: while it is random a residual within this bound does no harm"
        + (", and even helps" if helps else "")
        + f" (of the {WARMUP} episodes of the warm-up {words(found, 'bounded_warmup_success')} succeed with it, "
        f"{words(found, 'both_warmup_success')} with the gate; of the frozen policy's {words(found, 'base_success')}), "
        "and a gate tries it less often"
    )


def draw(data: Data, path: Path) -> None:
    """Curves and ends by way."""
    sheet, panels = figure(1, 2, width=9.0)
    base = float(np.mean(data["base_success"]))
    for number, (way, name) in enumerate(WAYS.items()):
        with_band(panels[0], data["curves"][way], WINDOW, f"C{number}", name)
        points(panels[1], number, data["success"][way], f"C{number}")
    for panel in panels:
        panel.axhline(base, color="#8a9096", ls="--", label="frozen policy")
        panel.set_ylim(-0.03, 1.03)
        panel.set_ylabel("success")
    panels[0].set(title="Policy Decorator figure 9: while training", xlabel="episode (mean of 20; band: all seeds)")
    panels[0].legend(fontsize=7)
    panels[1].set(title="evaluated, a point a seed", xticks=range(len(WAYS)))
    panels[1].set_xticklabels([name.replace(" ", "\n") for name in WAYS.values()], fontsize=8)
    save(sheet, path)


STUDY = Study("decorator_ablation", "Policy Decorator, figure 9", run, figures, judge, draw)
