"""Record the scripted expert: demonstrations without the calibration error, as they would be taken on another robot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from robot_rl.config import TaskConfig
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.twins import Split
from robot_rl.types import Array, Observation
from sim_twin.expert import Expert
from sim_twin.lid_opening import LidOpeningTwin

AFTER_SUCCESS = 8
"""Control steps still recorded once the lid is open, so that a clone does not learn to stop short of it."""

Recorded = tuple[list[Observation], list[Array]]
"""What the expert saw at each step, and did."""


def demonstrate(task: TaskConfig, count: int, seed: int, progress: Callable[[int], None]) -> Demonstrations:
    """`count` successful demonstrations on a whole bin; failed ones are recorded anew from the next start."""
    kept: list[Recorded] = []
    for recorded in successes(LidOpeningTwin(task, whole=True), task, seed):
        kept.append(recorded)
        progress(len(kept))
        if len(kept) == count:
            break
    return gathered(kept)


def successes(twin: LidOpeningTwin, task: TaskConfig, seed: int) -> Iterator[Recorded]:
    """One successful demonstration after the other, without end."""
    attempt = 0
    while True:
        start = replace(twin.draw(Split.DEMONSTRATIONS, seed, attempt), height_error=0.0)
        twin.reset(start)
        expert = Expert(twin.scene, twin.scene.expert, np.random.default_rng(start.seed))
        attempt += 1
        observations, actions, after = [], [], AFTER_SUCCESS
        for _ in range(task.max_steps):
            observations.append(twin.observe())
            actions.append(expert.act(observations[-1]))
            twin.apply(actions[-1])
            truth = twin.truth()
            after -= truth.success
            if after == 0 or truth.failed:
                break
        if truth.success:
            yield observations, actions


def gathered(kept: Sequence[Recorded]) -> Demonstrations:
    """The demonstrations, one after the other."""
    seen = [observation for observations, _ in kept for observation in observations]
    return Demonstrations(
        tcp_pose=np.array([o.tcp_pose for o in seen]),
        gripper_width=np.array([o.gripper_width for o in seen]),
        bin_pose=np.array([o.extra["bin_pose"] for o in seen]),
        action=np.array([action for _, actions in kept for action in actions]),
        episode=np.repeat(np.arange(len(kept)), [len(actions) for _, actions in kept]),
    )
