"""A double of the parts of `openpi` that `robot_rl.serve.openpi` uses, with a policy of a few numbers.

Names, arguments and who calls whom are openpi's; what is computed is not.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.types import Array


@dataclass(frozen=True)
class ModelConfig:
    """Of a `TrainConfig`."""

    action_dim: int = 32
    action_horizon: int = 10
    fast: bool = False
    """Like pi0-FAST, which samples tokens and has no argument for noise."""
    deaf: bool = False
    """Takes noise, and draws its own."""


class Policy:
    """As openpi's: reads a dictionary, draws noise if none is given, works on a batch of one."""

    def __init__(self, model: ModelConfig, scale: float = 1.0, num_steps: int = 10) -> None:
        self._model, self._scale, self._steps = model, scale, num_steps
        self._rng = np.random.default_rng(0)
        self.prompts: list[str] = []
        self.states: list[Array] = []

    def infer(self, obs: dict[str, Any], *, noise: Array | None = None) -> dict[str, Any]:
        inputs = dict(obs)
        self.prompts.append(inputs["prompt"])
        image = np.asarray(inputs["observation/image"], np.float32)[None] / 255.0 * 2.0 - 1.0
        state = np.concatenate([inputs["observation/state"], np.atleast_1d(inputs.get("observation/bin", 0.0))])[None]
        self.states.append(inputs["observation/state"])
        kwargs = {} if noise is None else {"noise": noise if noise.ndim == 3 else noise[None]}
        x = self._sample_actions(image.mean() + self._scale * state.mean(), **kwargs)
        return {
            "state": state[0],
            "actions": 0.01 * np.tanh(x[0, :, :4]),  # the output transform cuts to the robot's dimensions
            "policy_timing": {"infer_ms": 1.0},
        }

    def _sample_actions(self, seen: float, **kwargs: Array) -> Array:
        shape = (1, self._model.action_horizon, self._model.action_dim)
        if self._model.fast:
            if kwargs:
                raise TypeError("sample_actions() got an unexpected keyword argument 'noise'")
            return np.full(shape, np.tanh(seen))
        x = self._rng.standard_normal(shape) if self._model.deaf or not kwargs else kwargs["noise"]
        assert x.shape == shape, "openpi's type check"
        for _ in range(self._steps):  # as a flow's Euler steps, conditioned on what is seen
            x = x - (x - np.tanh(x + seen)) / self._steps
        return x


@dataclass(frozen=True)
class TrainConfig:
    name: str
    model: ModelConfig


CONFIGS: Mapping[str, TrainConfig] = {
    name: TrainConfig(name, model)
    for name, model in {
        "pi05_double": ModelConfig(),
        "pi0_fast_double": ModelConfig(fast=True),
        "pi0_deaf": ModelConfig(deaf=True),
    }.items()
}


def get_config(config_name: str) -> TrainConfig:
    if config_name not in CONFIGS:
        raise ValueError(f"Config '{config_name}' not found.")
    return CONFIGS[config_name]


def maybe_download(url: str, **kwargs: Any) -> Path:
    if url.startswith("gs://"):
        raise FileNotFoundError(f"no network: {url}")
    return Path(url)


def create_trained_policy(
    train_config: TrainConfig,
    checkpoint_dir: Path | str,
    *,
    sample_kwargs: dict[str, Any] | None = None,
    default_prompt: str | None = None,
) -> Policy:
    scale = float((Path(checkpoint_dir) / "params" / "scale").read_text())
    return Policy(train_config.model, scale, **(sample_kwargs or {}))


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if openpi were installed."""
    functions: dict[str, dict[str, Any]] = {
        "openpi": {},
        "openpi.training": {},
        "openpi.training.config": {"get_config": get_config},
        "openpi.policies": {},
        "openpi.policies.policy_config": {"create_trained_policy": create_trained_policy},
        "openpi.shared": {},
        "openpi.shared.download": {"maybe_download": maybe_download},
    }
    for name, contents in functions.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
