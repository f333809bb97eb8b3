"""Record the scripted expert together with what the policy's cameras see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from robot_rl.config import TaskConfig
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.types import Array
from sim_twin.demos import Recorded, gathered, successes
from sim_twin.vision.twin import SeeingTwin


def demonstrate(task: TaskConfig, count: int, seed: int, progress: Callable[[int], None]) -> SeenDemonstrations:
    """As `sim_twin.demos.demonstrate`, the same steps with their frames; failed ones are not drawn."""
    twin = SeeingTwin(task, whole=True)
    kept: list[Recorded] = []
    shots: dict[str, list[Array]] = {camera: [] for camera in twin.cameras}
    for observations, actions in successes(twin, task, seed):
        kept.append((observations, actions))
        for camera, taken in shots.items():
            taken += [observation.images[camera] for observation in observations]
        progress(len(kept))
        if len(kept) == count:
            break
    twin.close()
    recorded = gathered(kept)
    state = {field.name: getattr(recorded, field.name) for field in fields(Demonstrations)}
    return SeenDemonstrations(**state, frames={camera: np.stack(taken) for camera, taken in shots.items()})
