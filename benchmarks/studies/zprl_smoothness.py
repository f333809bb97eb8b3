"""ZPRL table II (smoother than an action residual, at the same reach) and figure 11 (lambda against drift).

The problem is `plane.reach`: a bin that is seen 8.5 mm off where it is, a success to come within 8 mm of it; the policy
and its bottleneck are cloned by the product. ZPRL against Policy Decorator with a residual per step, as in the paper,
and with one constant over the chunk, which is this product's default for such tasks.

Matched reach: both residuals are bounded by 4 mm a step; lambda is such that the largest displacement of a chunk along
either axis that any corner of dz gives, mean over states and axes, is that of the residuals (4 steps of 4 mm).

Velocity and acceleration are those of the commanded point: |a_t| / dt, and |a_(t+1) - a_t| / dt^2 over consecutive
steps of an episode, of the newest adapter in episodes that were not trained on, while it explores (as in the paper's
rollouts of checkpoints in training) and as deployed. Steps on the way only: an episode ends at the goal.

What was tried first: 60 episodes at UTD 2 for all, in which ZPRL came to a success of 0.65 +- 0.20 and the residual per
step to 0.94 +- 0.07, with velocities as high and accelerations 41 % lower. All have 100 episodes at UTD 3 since. Of
five seeds, the same code gave a velocity 14 +- 10 % lower on one machine and 4 +- 13 % higher on another, which rounds
otherwise; there are fifteen since.

Figure 11: the learner's own diagnosis (`ZPRL.diagnose`) at its end, for three lambdas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies import plane
from benchmarks.studies.lockstep import Played, base_adapter, success_rate, train, trials
from benchmarks.studies.pictures import figure, points, save
from benchmarks.studies.study import Data, Study, Verdict, figures_of, words
from robot_rl.config import MethodConfig
from robot_rl.task_files import method_config
from robot_rl.types import Array, Context

ERROR_M = (0.006, -0.006)
BOUND_M = 0.004
LAMBDAS = (0.1, 1.0, 10.0)
PAPER = {"velocity": 0.29, "acceleration": 0.39}
"""By how much ZPRL's are lower in its table II."""
EPISODES, TRIALS = 100, 30
COMMON: dict[str, Any] = {
    "hidden": 64,
    "layers": 2,
    "batch": 64,
    "warmup_episodes": 10,
    "utd": 3,
    "gamma": 0.9,
    "learning_rate": 1e-3,
    "actor_learning_rate": 1e-3,
}
WAYS = {"per_step": "residual per step", "constant": "constant residual", "zprl": "ZPRL"}


def settings(way: str, scale: float) -> tuple[str, MethodConfig]:
    """Method and settings of one of the `WAYS`; `scale` is ZPRL's lambda."""
    if way == "zprl":
        return "zprl", method_config("zprl", **COMMON, latent_scale=scale, critics=2, target_entropy=-2.0)
    size = 2 * (plane.T if way == "per_step" else 1)
    return "policy-decorator", method_config(
        "policy-decorator",
        **COMMON,
        residual_layout=way,
        residual_scale=(BOUND_M, BOUND_M, 0.0),
        residual_horizon=100,
        target_entropy=-float(size),
    )


def matched_scale(world: plane.Plane, states: int) -> float:
    """The lambda whose reach is that of the residuals, by bisection; 10 if none below is enough."""
    rng = np.random.default_rng(0)
    seen = [world.observe(world.start(rng)) for _ in range(states)]
    context = world.policy.encode(seen)
    noise = rng.standard_normal((states, *world.policy.spec.noise_shape)).astype(np.float32)
    low, high = 0.0, 10.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if _reach(world, context, noise, middle) < plane.T * BOUND_M else (low, middle)
    return high


def _reach(world: plane.Plane, context: Context, noise: Array, scale: float) -> float:
    """M along an axis, mean over states and axes of the most that a corner of dz gives."""
    assert context.z is not None
    before = world.policy.decode(context, noise, context.z)[..., :2].sum(1)
    most = np.zeros_like(before)
    for corner in product((-1.0, 1.0), repeat=context.z.shape[1]):
        shifted = context.z + np.float32(scale) * np.array(corner, np.float32)
        most = np.maximum(most, np.abs(world.policy.decode(context, noise, shifted)[..., :2].sum(1) - before))
    return float(most.mean())


def run(seeds: Sequence[int], quick: bool) -> Data:
    """Success, velocity (m/s), acceleration (m/s^2) by way and seed; drift by lambda and seed."""
    episodes, count = (6, 3) if quick else (EPISODES, TRIALS)
    world = plane.reach(quick, error_m=ERROR_M)
    scale = matched_scale(world, 4 if quick else 64)
    names = ("success", "exploring_success", "velocity", "acceleration", "deployed_velocity", "deployed_acceleration")
    data: dict[str, Any] = {"seeds": list(seeds), "lambda": scale, **{name: {} for name in names}}
    data["path"], data["drift"] = {}, {}
    base = [trials(world, base_adapter(world), count, seed) for seed in seeds]
    data["base_success"] = [success_rate(one) for one in base]
    data["base_velocity"], data["base_acceleration"] = ([f(one) for one in base] for f in (velocity, acceleration))
    data["path"]["base"] = _longest(base[0])
    for way in WAYS:
        for name in names:
            data[name][way] = []
        for seed in seeds:
            adapter = train(world, *settings(way, scale), seed, episodes, quick=quick).adapter
            exploring = trials(world, adapter, count, seed, explore=True)
            deployed = trials(world, adapter, count, seed)
            data["success"][way].append(success_rate(deployed))
            data["exploring_success"][way].append(success_rate(exploring))
            data["velocity"][way].append(velocity(exploring))
            data["acceleration"][way].append(acceleration(exploring))
            data["deployed_velocity"][way].append(velocity(deployed))
            data["deployed_acceleration"][way].append(acceleration(deployed))
            data["path"].setdefault(way, _longest(exploring))
    for value in LAMBDAS[:2] if quick else LAMBDAS:
        rows: list[dict[str, float]] = []
        for seed in seeds:
            one = train(world, *settings("zprl", value), seed, episodes, quick=quick)
            said = {k: one.learner.losses[k] for k in ("latent_rms_ratio", "latent_mahalanobis", "feature_shift")}
            rows.append({**said, "success": success_rate(trials(world, one.adapter, count, seed))})
        data["drift"][str(value)] = {name: [row[name] for row in rows] for name in rows[0]}
    return data


def velocity(played: Sequence[Played]) -> float:
    """Mean |a_t| / dt, m/s."""
    return float(np.mean([np.linalg.norm(one.executed[:, :2], axis=1).mean() for one in played])) / plane.STEP_S


def acceleration(played: Sequence[Played]) -> float:
    """Mean |a_(t+1) - a_t| / dt^2, m/s^2."""
    moves = [np.linalg.norm(np.diff(one.executed[:, :2], axis=0), axis=1).mean() for one in played]
    return float(np.mean(moves)) / plane.STEP_S**2


def _longest(played: Sequence[Played]) -> list[list[float]]:
    """Commanded displacements [n, 2] mm of the episode with most steps."""
    one = max(played, key=lambda each: each.last.steps)
    found: list[list[float]] = (1000 * one.executed[:, :2]).tolist()
    return found


def figures(data: Data) -> dict[str, Any]:
    """What table II and figure 11 list, and how much lower ZPRL's are, paired by seed."""
    found: dict[str, Any] = {"matched_lambda": data["lambda"]}
    for name in ("success", "velocity", "acceleration"):
        found |= figures_of(f"base_{name}", data[f"base_{name}"])
    for way in WAYS:
        for name in (
            "success",
            "exploring_success",
            "velocity",
            "acceleration",
            "deployed_velocity",
            "deployed_acceleration",
        ):
            found |= figures_of(f"{way}_{name}", data[name][way])
    for way in ("per_step", "constant"):
        for name in ("velocity", "acceleration", "deployed_velocity", "deployed_acceleration"):
            ours, theirs = np.array(data[name]["zprl"]), np.array(data[name][way])
            found |= figures_of(f"{name}_lower_than_{way}", (1 - ours / theirs).tolist())
    ours, theirs, constant = (found[f"{way}_acceleration_mean"] for way in ("zprl", "per_step", "constant"))
    found["constant_share_of_lower_acceleration"] = (theirs - constant) / (theirs - ours)
    for value, drift in data["drift"].items():
        for name, values in drift.items():
            found |= figures_of(f"lambda_{value.replace('.', '_')}_{name}", values)
    return found


def judge(found: Mapping[str, Any]) -> list[Verdict]:
    """Table II and figure 11."""
    lower = {name: found[f"{name}_lower_than_per_step_mean"] for name in PAPER}
    half = {name: found[f"{name}_lower_than_per_step_half_width_95"] for name in PAPER}
    smoother = {name: lower[name] - half[name] > 0 for name in PAPER}
    as_much = {name: lower[name] >= share / 2 for name, share in PAPER.items()}
    as_good = found["zprl_success_mean"] >= found["per_step_success_mean"] - 0.05
    keys = [f"lambda_{str(value).replace('.', '_')}" for value in LAMBDAS]
    known = [key for key in keys if f"{key}_success_mean" in found]
    drift = [[found[f"{key}_{name}_mean"] for key in known] for name in ("latent_mahalanobis", "feature_shift")]
    rises = all(a < b for row in drift for a, b in pairwise(row))
    success = [found[f"{key}_success_mean"] for key in known]
    falls, ruined = success[-1] < max(success) - 0.1, success[-1] < found["base_success_mean"] - 0.1
    listed = "; ".join(
        f"{key.removeprefix('lambda_').replace('_', '.')}: Mahalanobis {found[f'{key}_latent_mahalanobis_mean']:.1f}, "
        f"shift {found[f'{key}_feature_shift_mean']:.2f}, success {found[f'{key}_success_mean']:.2f}"
        for key in known
    )
    over = found[f"{known[1]}_feature_shift_mean"] if len(known) > 1 else 0.0
    return [
        Verdict(
            f"commanded velocity lower by {100 * PAPER['velocity']:.0f} % and acceleration by "
            f"{100 * PAPER['acceleration']:.0f} % than those of an action residual (ZPRL, table II)",
            f"while exploring {_percent(found, 'velocity_lower_than_per_step')} and "
            f"{_percent(found, 'acceleration_lower_than_per_step')} lower than a residual per step, "
            f"{_percent(found, 'velocity_lower_than_constant')} and "
            f"{_percent(found, 'acceleration_lower_than_constant')} lower than a constant one; as deployed "
            f"{_percent(found, 'deployed_velocity_lower_than_per_step')} and "
            f"{_percent(found, 'deployed_acceleration_lower_than_per_step')} lower than a residual per step",
            all(smoother.values()) and all(as_much.values()),
            _because_of_motion(found, smoother, as_much),
            in_part=any(smoother.values()),
        ),
        Verdict(
            "that this smoothness costs no success (ZPRL, section V)",
            f"success at the same reach {words(found, 'zprl_success')} ZPRL, {words(found, 'per_step_success')} a "
            f"residual per step, {words(found, 'constant_success')} a constant one, {words(found, 'base_success')} the "
            "frozen policy",
            as_good,
            "it reaches what they reach"
            if as_good
            else f"the reach that corrects the error asks for lambda {found['matched_lambda']:.2f}, which shifts the "
            f"decoded feature further than the paper's limit of about 0.8 (already at lambda {LAMBDAS[1]:g} it is "
            f"{over:.2f}, with success {words(found, f'{known[1]}_success')}); whether that is why is not shown",
        ),
        Verdict(
            "that a larger lambda shifts latent and decoded feature further, and too large a one ruins the policy "
            "(ZPRL, figure 11)",
            f"by lambda: {listed}; the frozen policy {words(found, 'base_success')}",
            rises and ruined,
            "the decoder is asked for latents that it was never trained on"
            if rises and ruined
            else "drift rises with lambda, and the largest loses all that a smaller one gains, but is not below the "
            "frozen policy"
            if rises and falls
            else "drift rises with lambda, and no lambda that was tried ruins success"
            if rises
            else "drift does not rise throughout",
            in_part=rises and falls,
        ),
    ]


def _because_of_motion(found: Mapping[str, Any], smoother: Mapping[str, bool], as_much: Mapping[str, bool]) -> str:
    said = [
        f"{name} is {'lower' if smoother[name] else 'not lower, as far as the seeds can tell'}"
        f"{', and by less than half as much' if smoother[name] and not as_much[name] else ''}"
        for name in PAPER
    ]
    if smoother["acceleration"]:
        said += [
            "what the latent moves is still decoded to a chunk like those of the demonstrations",
            "a residual that is constant over the chunk has "
            f"{100 * found['constant_share_of_lower_acceleration']:.0f} % of the lower acceleration too",
        ]
    return "; ".join(said)


def _percent(found: Mapping[str, Any], name: str) -> str:
    return f"{100 * found[f'{name}_mean']:.0f} +- {100 * found[f'{name}_half_width_95']:.0f} %"


def draw(data: Data, path: Path) -> None:
    """Velocity, acceleration and success by way; commands of an episode; drift by lambda."""
    sheet, panels = figure(2, 4, width=13.0, height=2.8)
    labels = ["frozen", *("per step", "constant", "ZPRL")]
    for panel, name, title in (
        (panels[0], "velocity", "ZPRL table II: velocity, m/s"),
        (panels[1], "acceleration", "acceleration, m/s²"),
        (panels[2], "success", "success, deployed"),
    ):
        points(panel, 0, data[f"base_{name}"], "#8a9096")
        for number, way in enumerate(WAYS, 1):
            points(panel, number, data[name][way], f"C{number}")
        panel.set(title=title, xticks=range(4))
        panel.set_xticklabels(labels, fontsize=8)
        panel.set_ylim(0, 1.03 if name == "success" else None)
    for number, way in enumerate(("base", *WAYS)):
        moves = np.array(data["path"][way])
        colour = "#8a9096" if way == "base" else f"C{number}"
        panels[3].plot(moves[:, 1] - 25 * number, color=colour, lw=1.1, label=labels[number])
    panels[3].set(title=f"an episode each, the longest of seed {data['seeds'][0]}", xlabel="step", yticks=[])
    panels[3].set_ylabel("commanded dy (lines 25 mm apart)", fontsize=7)
    panels[3].legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    scales = [float(value) for value in data["drift"]]
    for panel, name, title in (
        (panels[4], "latent_mahalanobis", "ZPRL figure 11: Mahalanobis distance"),
        (panels[5], "feature_shift", "shift of the decoded feature"),
        (panels[6], "latent_rms_ratio", "RMS(λ dz) / RMS(z)"),
        (panels[7], "success", "success"),
    ):
        rows = np.array([drift[name] for drift in data["drift"].values()])
        panel.plot(scales, rows.mean(1), color="C3")
        panel.scatter(np.repeat(scales, rows.shape[1]), rows.ravel(), s=12, color="C3")
        panel.axvline(data["lambda"], color="#8a9096", ls="--", lw=1)
        panel.set(title=title, xscale="log", xlabel="λ (dashed: of matched reach)")
    panels[7].axhline(np.mean(data["base_success"]), color="#8a9096", lw=1, label="frozen policy")
    panels[7].legend(fontsize=6)
    save(sheet, path)


STUDY = Study("zprl_smoothness", "ZPRL, table II and figure 11", run, figures, judge, draw)
