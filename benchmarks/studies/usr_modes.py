"""USR figure 1 (two modes, the goal outside one of them) and figure 7 (actions before and after steering).

The problem is `two_modes`: the policy goes left or right by chance, and the goal is on the right, 1 mm above where the
policy goes there. Four ways to adapt it, with the same networks, rates and budget: steering alone (DSRL-NA), a residual
alone with a small bound (2 mm, which corrects the height and cannot cross from left to right) and with a large one
(10 mm, which can), by Policy Decorator, and both (USR, small bound). A residual alone sees the state and not the
base's action, as in the paper, so that it cannot tell in which mode the base is. The goal is open to the right, without
which a residual alone could not reach it from both modes at all.

Figure 7 is drawn in one state, 300 actions each: the policy's own, decoded from the noise of USR's actor, and with its
residual added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies import two_modes
from benchmarks.studies.lockstep import base_adapter, first_reached, play, success_rate, train, trials
from benchmarks.studies.pictures import figure, save, with_band
from benchmarks.studies.study import Data, Study, Verdict, figures_of, reached, words
from robot_rl.config import MethodConfig
from robot_rl.protocols import Adapter
from robot_rl.task_files import method_config

SMALL_M, LARGE_M = 0.002, 0.01
EPISODES, TRIALS, SAMPLES, WINDOW = 160, 200, 300, 20
COMMON: dict[str, Any] = {
    "hidden": 64,
    "layers": 2,
    "batch": 64,
    "warmup_episodes": 20,
    "utd": 5,
    "learning_rate": 1e-3,
    "actor_learning_rate": 1e-3,
}
WAYS = {
    "steering": "steering alone",
    "small_residual": f"residual of {1000 * SMALL_M:.0f} mm",
    "large_residual": f"residual of {1000 * LARGE_M:.0f} mm",
    "both": "both (USR)",
}


def settings(way: str) -> tuple[str, MethodConfig]:
    """Method and settings of one of the `WAYS`."""
    if way == "steering":
        return "dsrl-na", method_config("dsrl-na", **COMMON)
    bound = LARGE_M if way == "large_residual" else SMALL_M
    residual = {"residual_layout": "constant", "residual_scale": (0.0, bound, bound, 0.0)}
    if way == "both":
        return "usr", method_config("usr", **COMMON, **residual)
    return "policy-decorator", method_config("policy-decorator", **COMMON, **residual, target_entropy=-2.0)


def run(seeds: Sequence[int], quick: bool) -> Data:
    """Success by way and seed, curves, and the actions of figure 7 (mm) of the first seed."""
    episodes, count = (6, 6) if quick else (EPISODES, TRIALS)
    world = two_modes.TwoModes()
    data: dict[str, Any] = {"seeds": list(seeds), "success": {}, "curves": {}, "actions": {}, "sides": {}}
    base = base_adapter(world)
    data["base"] = [success_rate(trials(world, base, count, seed)) for seed in seeds]
    for way in WAYS:
        method, config = settings(way)
        runs = [train(world, method, config, seed, episodes, quick=quick) for seed in seeds]
        data["success"][way] = [
            success_rate(trials(world, one.adapter, count, seed)) for one, seed in zip(runs, seeds, strict=True)
        ]
        data["curves"][way] = [one.curve for one in runs]
        if way == "both":
            sampled = [_actions(world, base, one.adapter, count if quick else SAMPLES) for one in runs]
            data["actions"] = sampled[0]
            data["sides"] = {name: [_sides(one[name]) for one in sampled] for name in sampled[0]}
    return data


def _actions(world: two_modes.TwoModes, base: Adapter, learnt: Adapter, count: int) -> dict[str, list[list[float]]]:
    """Name -> (y, z) mm of the first step, in the state 0."""

    class OneState(two_modes.TwoModes):
        def start(self, rng: np.random.Generator) -> tuple[Any, None]:
            return np.array([0.0, 1.0, 0.0], np.float32), None

    def drawn(adapter: Adapter) -> list[Any]:
        one = OneState(world.height_m)
        return [play(one, adapter, np.random.default_rng([7, i]), explore=True).transitions[0] for i in range(count)]

    ours = drawn(learnt)
    return {
        "base": [(1000 * t.base_chunk[0, 1:3]).tolist() for t in drawn(base)],
        "steered": [(1000 * t.base_chunk[0, 1:3]).tolist() for t in ours],
        "refined": [(1000 * t.executed_chunk[0, 1:3]).tolist() for t in ours],
    }


def _sides(actions: list[list[float]]) -> dict[str, float]:
    """Share on the right, and mean and standard deviation of the height there (mm)."""
    y, z = np.array(actions).T
    right = z[y > 0] if (y > 0).any() else z
    return {"right": float(np.mean(y > 0)), "height": float(right.mean()), "height_std": float(right.std())}


def figures(data: Data) -> dict[str, Any]:
    """Success, episodes until 10 of the newest 20 succeed, and how the actions of figure 7 are spread."""
    found = figures_of("base_success", data["base"])
    for way in WAYS:
        found |= figures_of(f"{way}_success", data["success"][way])
        found |= figures_of(f"{way}_episodes_to_half", [first_reached(c, 0.5, WINDOW) for c in data["curves"][way]])
    for name, sides in data["sides"].items():
        found |= figures_of(f"{name}_right_share", [one["right"] for one in sides])
        found |= figures_of(f"{name}_height_mm", [one["height"] for one in sides])
    return found


def judge(found: Mapping[str, Any]) -> list[Verdict]:
    """Figure 1 and figure 7."""
    mean = {way: found[f"{way}_success_mean"] for way in WAYS}
    slower = found["large_residual_episodes_to_half_mean"] / found["both_episodes_to_half_mean"]
    confined, cannot_cross = mean["steering"] < 0.1, mean["small_residual"] < 0.7
    inefficient = slower > 1.2 or mean["large_residual"] < mean["both"] - 0.1
    best = all(mean["both"] > mean[way] for way in WAYS if way != "both")
    first = confined and cannot_cross and inefficient and best
    broken = [
        reason
        for reason, right in (
            ("steering alone reached the goal", confined),
            ("the small residual crossed the gap", cannot_cross),
            ("the large residual was as quick and as good", inefficient),
            ("both together were not the best", best),
        )
        if not right
    ]
    single = found["steered_right_share_mean"] > 0.9 > found["base_right_share_mean"]
    moved = found["refined_height_mm_mean"] - found["steered_height_mm_mean"]
    return [
        Verdict(
            "that of a policy with two modes and a goal outside one, steering stays in the policy's support, a small "
            "residual cannot cross between modes, a large one crosses but explores inefficiently, and both together "
            "are stable and efficient (USR, figure 1)",
            f"success {words(found, 'steering_success')} steering, {words(found, 'small_residual_success')} small, "
            f"{words(found, 'large_residual_success')} large, {words(found, 'both_success')} both; episodes until half "
            f"succeed: {reached(found, 'large_residual_episodes_to_half', EPISODES)} large, "
            f"{reached(found, 'both_episodes_to_half', EPISODES)} both",
            first,
            "each way fails where the paper says it does" if first else "; ".join(broken),
        ),
        Verdict(
            "that noise of the actor turns several modes into one, and that the residual moves that one beyond the "
            "policy's support (USR, figure 7)",
            f"on the right: {found['base_right_share_mean']:.2f} of the policy's own actions (the same draws for every "
            f"seed), "
            f"{words(found, 'steered_right_share')} of the steered ones; the residual moves them {moved:.2f} mm up",
            single and moved > 0.4,
            "one mode is left, and it is moved to the goal, 1 mm up"
            if single and moved > 0.4
            else "steering leaves more than one mode, or the residual does not move it",
        ),
    ]


def draw(data: Data, path: Path) -> None:
    """Curves and ends by way; the three clouds of actions."""
    sheet, panels = figure(1, 4, width=13.5)
    for number, (way, name) in enumerate(WAYS.items()):
        with_band(panels[0], data["curves"][way], WINDOW, f"C{number}", name)
        panels[1].scatter([number] * len(data["seeds"]), data["success"][way], color=f"C{number}", s=18)
        panels[1].hlines(np.mean(data["success"][way]), number - 0.3, number + 0.3, color=f"C{number}")
    for panel in panels[:2]:
        panel.axhline(np.mean(data["base"]), color="#8a9096", ls="--", label="frozen policy")
    panels[0].set(
        title="USR figure 1: while training", xlabel="episode (mean of 20; band: all seeds)", ylabel="success"
    )
    panels[0].set_ylim(-0.03, 1.03)
    panels[0].legend(fontsize=7)
    panels[1].set(title="evaluated, a point a seed", ylabel="success", ylim=(-0.03, 1.03), xticks=range(len(WAYS)))
    small, large = (f"residual\n{1000 * bound:.0f} mm" for bound in (SMALL_M, LARGE_M))
    panels[1].set_xticklabels(["steering", small, large, "both"], fontsize=8)
    for panel, names, title in (
        (panels[2], ("base", "steered"), f"USR figure 7, seed {data['seeds'][0]}: steering"),
        (panels[3], ("steered", "refined"), "and the residual"),
    ):
        for name in names:
            colour = {"base": "#8a9096", "steered": "C0", "refined": "C3"}[name]
            panel.scatter(*np.array(data["actions"][name]).T, s=5, alpha=0.5, color=colour, label=name)
        low, top = 1000 * two_modes.RIGHT_M, 1.0 + 1000 * two_modes.TOLERANCE_M
        panel.fill_between([low, 8], 1.0 - 1000 * two_modes.TOLERANCE_M, top, color="C2", alpha=0.2, label="goal")
        panel.set(title=title, xlabel="y, mm", ylabel="z, mm", xlim=(-8, 8), ylim=(-1.5, 3))
        panel.legend(fontsize=7, loc="upper left")
    save(sheet, path)


STUDY = Study("usr_modes", "USR, figures 1 and 7", run, figures, judge, draw)
