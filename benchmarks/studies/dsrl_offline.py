"""DSRL figure 5 (offline data halves the samples) and section 5.2 (adaptation from offline data alone).

The problem is `plane.four_goals` where one goal of the four counts, so that the frozen policy, which goes to all of
them, succeeds in about a tenth of its episodes. The offline data are 60 labelled episodes of operators who went from
the same starts to any of the goals, half of them with a steady hand (noise of 4 mm a step) and half without (10 mm):
data of mixed quality and of no single purpose, as the paper's are (Multi-Human, play). They are the learner's first
episodes, as after `robot-rl train-offline`, and the method sees their chunks and labels; nobody knows their noise.

Figure 5: DSRL-NA (b_W 1.5) from scratch, with 10 episodes of the frozen policy as warm-up, and with the data in the
replay and the updates that they pay for done before the first episode. Samples: episodes until the mean of the newest
20 outcomes comes to a level.
Section 5.2: 600 updates on the data alone, no episode of its own; 3 critics, their mean, b_W 0.75 (its table has 0.5
to 1.5), and also b_W 1.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies import plane
from benchmarks.studies.lockstep import TRAINING, base_adapter, first_reached, play, success_rate, train, trials
from benchmarks.studies.pictures import figure, points, save, with_band
from benchmarks.studies.study import Data, Study, Verdict, figures_of, reached, words
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.learn.learner import Learner
from robot_rl.task_files import method_config
from robot_rl.types import Array, Context, LabelValue, Steering, Transition

GOAL, LEVELS = 1, (0.5, 0.8)
OFFLINE, UPDATES = 60, 600
EPISODES, TRIALS, WINDOW = 80, 60, 20
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


def settings(bound: float = 1.5, **changes: Any) -> MethodConfig:
    """Of DSRL-NA."""
    return method_config("dsrl-na", **{**COMMON, "noise_bound": bound, **changes})


class Operator:
    """Somebody who goes to a goal, as an `Adapter`: the chunk is theirs."""

    version = 0

    def __init__(self, world: plane.Plane, layout: SteeringLayout, goal: Array, noise_m: float) -> None:
        self._world, self._layout, self._goal, self._noise_m = world, layout, goal, noise_m

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        """For a context of batch 1: where the point is, is in its features."""
        weights = self._world.policy.weights
        point = (context.features[0] * weights["features.scale"] + weights["features.mean"])[:2].astype(np.float64)
        moves = plane.demonstrate(point, np.zeros(2), self._goal, self._noise_m, plane.T, rng)[2]
        return Steering(
            steer=np.zeros(self._layout.size, np.float32),
            noise=np.zeros(self._world.policy.spec.noise_shape, np.float32),
            residual=np.zeros((plane.T, 3), np.float32),
            chunk=moves.astype(np.float32),
        )


def recorded(world: plane.Plane, config: MethodConfig, seed: int, count: int) -> list[tuple[list[Transition], bool]]:
    """The offline episodes and whether each succeeded."""
    layout, found = SteeringLayout(world.policy.spec, config), []
    for number in range(1, count + 1):
        rng = np.random.default_rng([TRAINING, seed, number, 5])
        goal = plane.GOALS[rng.integers(len(plane.GOALS))]
        operator = Operator(world, layout, goal, (0.004, 0.01)[number % 2])
        one = play(world, operator, rng, explore=True, number=number, gamma=config.gamma)
        found.append((list(one.transitions), one.success))
    return found


def taught(learner: Learner, episodes: Sequence[tuple[list[Transition], bool]]) -> dict[int, LabelValue]:
    """Give the episodes to a learner; their labels."""
    labels = {}
    for transitions, success in episodes:
        learner.add_episode(transitions)
        labels[transitions[0].episode] = LabelValue.SUCCESS if success else LabelValue.FAILURE
    learner.set_labels(labels)
    return labels


def run(seeds: Sequence[int], quick: bool) -> Data:
    """Curves with and without the data, and success of all, by seed."""
    episodes, count, offline, updates = (6, 3, 4, 3) if quick else (EPISODES, TRIALS, OFFLINE, UPDATES)
    world = plane.four_goals(quick, only=GOAL)
    data: dict[str, Any] = {"seeds": list(seeds), "curves": {"online": [], "both": []}, "offline_share": []}
    data |= {"success": {name: [] for name in ("base", "online", "both", "offline_0_75", "offline_1_5")}}
    for seed in seeds:
        episodes_before = recorded(world, settings(), seed, offline)

        def before(
            learner: Learner, given: Sequence[tuple[list[Transition], bool]] = episodes_before
        ) -> dict[int, LabelValue]:
            labels = taught(learner, given)
            learner.learn()
            return labels

        data["offline_share"].append(float(np.mean([success for _, success in episodes_before])))
        data["success"]["base"].append(success_rate(trials(world, base_adapter(world), count, seed)))
        for name, given in (("online", None), ("both", before)):
            one = train(world, "dsrl-na", settings(), seed, episodes, before=given, quick=quick)
            data["curves"][name].append(one.curve)
            data["success"][name].append(success_rate(trials(world, one.adapter, count, seed)))
        for bound in (0.75, 1.5):
            config = settings(bound, critics=3, critic_reduce="mean")
            learner = Learner(world.policy.spec, "dsrl-na", config, world.decoder, seed)
            taught(learner, episodes_before)
            learner.learn(updates)
            rate = success_rate(trials(world, learner.adapter(), count, seed))
            data["success"][f"offline_{str(bound).replace('.', '_')}"].append(rate)
    return data


def figures(data: Data) -> dict[str, Any]:
    """Success; episodes to each level, and by which factor the data make them fewer, paired by seed."""
    found = figures_of("offline_data_success_share", data["offline_share"])
    for name, values in data["success"].items():
        found |= figures_of(f"{name}_success", values)
    for level in LEVELS:
        key = f"episodes_to_{round(100 * level)}"
        reached = {
            name: [first_reached(curve, level, WINDOW) for curve in curves] for name, curves in data["curves"].items()
        }
        for name, values in reached.items():
            found |= figures_of(f"{name}_{key}", values)
        ratios = np.array(reached["online"]) / np.array(reached["both"])
        found |= figures_of(f"factor_{key}", ratios.tolist())
    for name, curves in data["curves"].items():
        found |= figures_of(f"{name}_training_success", [float(np.mean(curve)) for curve in curves])
    return found


def judge(found: Mapping[str, Any]) -> list[Verdict]:
    """Figure 5 and section 5.2."""
    factor = found["factor_episodes_to_50_mean"]
    quicker = factor > 1.3 and found["both_success_mean"] > found["base_success_mean"] + 0.2
    best = max(("offline_0_75", "offline_1_5"), key=lambda name: float(found[f"{name}_success_mean"]))
    gain = found[f"{best}_success_mean"] - found["base_success_mean"]
    return [
        Verdict(
            "that offline data in the replay make online learning need about half of the samples (DSRL, figure 5)",
            f"episodes until half of the newest {WINDOW} succeed: {reached(found, 'online_episodes_to_50', EPISODES)} "
            f"without, {reached(found, 'both_episodes_to_50', EPISODES)} with them, "
            f"{words(found, 'factor_episodes_to_50', 1)} times fewer (no fewer than {WINDOW} can be seen, a seed "
            f"that never came there counts as {EPISODES + 1}, and the {OFFLINE} offline episodes are not counted); "
            "until 80 %: "
            f"{reached(found, 'online_episodes_to_80', EPISODES)} without, "
            f"{reached(found, 'both_episodes_to_80', EPISODES)} with them; success at the end "
            f"{words(found, 'online_success')} and {words(found, 'both_success')}",
            quicker,
            "the action critic has probably learnt of the goal before the first episode"
            if quicker
            else "online learning is as quick without them here",
        ),
        Verdict(
            "that the same method improves the policy a lot from offline data alone (DSRL, section 5.2)",
            f"success {words(found, 'base_success')} of the frozen policy; offline "
            f"{words(found, 'offline_0_75_success')} (b_W 0.75), {words(found, 'offline_1_5_success')} (b_W 1.5); of "
            f"the data's own episodes {words(found, 'offline_data_success_share')} succeed",
            gain > 0.2,
            "what the decoder can put out is probably near the data, where the critic is right"
            if gain > 0.2
            else "the critic is wrong on chunks that the decoder puts out and nobody recorded",
        ),
    ]


def draw(data: Data, path: Path) -> None:
    """Curves with and without; ends."""
    sheet, panels = figure(1, 2, width=9.5)
    with_band(panels[0], data["curves"]["online"], WINDOW, "C0", "online alone")
    with_band(panels[0], data["curves"]["both"], WINDOW, "C3", "with offline data")
    base = float(np.mean(data["success"]["base"]))
    panels[0].axhline(base, color="#8a9096", ls="--", label="frozen policy")
    panels[0].set(
        title="DSRL figure 5: while training",
        xlabel="episode (mean of 20; band: all seeds)",
        ylabel="success",
        ylim=(-0.03, 1.03),
    )
    panels[0].legend(fontsize=7)
    labels = {
        "base": ("frozen", "#8a9096"),
        "online": ("online", "C0"),
        "both": ("with data", "C3"),
        "offline_0_75": ("offline,\nb_W 0.75", "C1"),
        "offline_1_5": ("offline,\nb_W 1.5", "C2"),
    }
    for number, (name, (_, colour)) in enumerate(labels.items()):
        points(panels[1], number, data["success"][name], colour)
    panels[1].set(title="evaluated, a point a seed", ylabel="success", ylim=(-0.03, 1.03), xticks=range(len(labels)))
    panels[1].set_xticklabels([label for label, _ in labels.values()], fontsize=8)
    save(sheet, path)


STUDY = Study("dsrl_offline", "DSRL, figure 5 and section 5.2", run, figures, judge, draw)
