"""Whether an environment keeps to what gymnasium asks of one, looked at before hours are spent on it."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from benchmarks.gym.tasks import AT_LEAST, RETURN, GymTask, space_of
from benchmarks.gym.world import Episodes
from robot_rl.errors import ConfigError

SEED = 7


def require_usable(task: GymTask) -> None:
    """Make it and its expert, begin two episodes alike, take a step.

    Raises `ConfigError` for what could not be trained on: adapter and frozen policy are compared on the same starts.
    """
    with closing(task.make()) as env:
        task.make_expert(env)
        episodes, (size,) = Episodes(task, env), env.observation_space.shape or (0,)
        one, other = (episodes.start(np.random.default_rng(SEED)) for _ in range(2))
        if one.observation.shape != (size,):
            raise ConfigError(
                f"--env {task.env}: expected observations of {size} numbers, as its observation_space says, got "
                f"{one.observation.size}"
            )
        if not np.array_equal(one.observation, other.observation):
            raise ConfigError(
                f"--env {task.env}: expected the same start for the same `reset(seed=...)`, got another: adapter and "
                "frozen policy are compared on the same starts. Draw it from `self.np_random`, and hand the seed on to "
                "`super().reset(seed=seed)`"
            )
        after = episodes.step(other, np.zeros(space_of(env).size))
        if after.success and task.success.startswith(RETURN + AT_LEAST):
            raise ConfigError(
                f"--env {task.env}: expected --success {task.success} to ask for more than one step that does nothing "
                "gives; it is met by that"
            )
