"""Scripted experts for environments that bring none."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from benchmarks.gym.tasks import Expert


def rock(env: gymnasium.Env[Any, Any]) -> Expert:
    """Of MountainCarContinuous-v0: push with the motion, always."""
    return lambda observation: np.array([0.6 if observation[1] >= 0 else -0.6])
