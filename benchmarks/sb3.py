"""stable-baselines3's SAC as `benchmarks.learner` compares with it: stock, of given sizes, its own replay filled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger

ROWS_SEED = 0


class Nowhere(gymnasium.Env[Any, Any]):
    """Spaces of the wanted sizes; nobody acts in it."""

    def __init__(self, features: int, action: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (features,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action,), np.float32)


def sb3_sac(
    features: int, action: int, *, width: int, layers: int, critics: int, batch: int, rows: int
) -> Callable[[int], object]:
    """SAC of ReLU MLPs of `layers` x `width`, `rows` random transitions in its replay: does so many updates."""
    net = [width] * layers
    model = SAC(
        "MlpPolicy",
        Nowhere(features, action),
        batch_size=batch,
        buffer_size=rows,
        policy_kwargs={"net_arch": {"pi": net, "qf": net}, "n_critics": critics, "activation_fn": torch.nn.ReLU},
        device="cpu",
        seed=0,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    replay, rng = model.replay_buffer, np.random.default_rng(ROWS_SEED)
    assert replay is not None
    for _ in range(rows):
        seen, following, done = rng.uniform(-1, 1, (1, features)), rng.uniform(-1, 1, (1, features)), np.zeros(1)
        replay.add(seen, following, rng.uniform(-1, 1, (1, action)), rng.integers(0, 2, 1), done, [{}])
    return lambda count: model.train(count, batch_size=batch)
