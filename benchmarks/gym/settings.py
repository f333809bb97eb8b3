"""Settings of the methods and of the frozen policy, the same for every environment: nothing is tuned to one.

They are those of the lid-opening task where they have no unit. What has one follows from the environment and its frozen
policy: a residual may move every action by `RESIDUAL` of half its range; ZPRL's lambda is set by the paper's rule
(`adapters.latent.scale_by_rms`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from robot_rl.adapters.latent import scale_by_rms
from robot_rl.config import MethodConfig, PolicyConfig, method_config
from robot_rl.errors import ConfigError, nearest
from robot_rl.types import ActionSpace, Array

POLICY = PolicyConfig(
    checkpoint="policy.safetensors",
    horizon=8,
    hidden=256,
    layers=3,
    embedding=64,
    latent=16,
    ode_steps=4,
    train_steps=4000,
    bottleneck_steps=2000,
    batch=256,
    learning_rate=1e-3,
)
SHORT_POLICY = POLICY.model_copy(update={"hidden": 64, "layers": 2, "train_steps": 200, "bottleneck_steps": 100})
"""To see that it runs."""
COMMON: Mapping[str, Any] = {"warmup_episodes": 10, "utd": 3.0, "actor_average": 0.005}
RESIDUAL = 0.15
LATENT_SHARE = 0.2
"""RMS(lambda dz) / RMS(z) of an actor that has learnt nothing; 0.1 to 0.2 in the paper."""
NOISE: Mapping[str, Any] = {"noise_layout": "repeat"}


def _residual(space: ActionSpace) -> dict[str, Any]:
    halves = [(high - low) / 2 for low, high in zip(space.low, space.high, strict=True)]
    return {"residual_layout": "constant", "residual_scale": tuple(RESIDUAL * half for half in halves)}


def _usr(space: ActionSpace, z: Array) -> dict[str, Any]:
    own = {"noise_bound": 0.5, "residual_horizon": 60, "initial_temperature": 0.06, "target_entropy": 0.0}
    return {**NOISE, **_residual(space), **own}


def _dsrl_na(space: ActionSpace, z: Array) -> dict[str, Any]:
    return {**NOISE, "initial_temperature": 0.02, "target_entropy": -1.0}


def _dsrl_sac(space: ActionSpace, z: Array) -> dict[str, Any]:
    return {**NOISE, "initial_temperature": 0.06, "target_entropy": 0.0}


def _policy_decorator(space: ActionSpace, z: Array) -> dict[str, Any]:
    own = {"residual_horizon": 200, "initial_temperature": 0.02, "target_entropy": -float(space.size)}
    rates = {"learning_rate": 3e-4, "actor_learning_rate": 3e-4}
    return {**_residual(space), **own, **rates}


def _zprl(space: ActionSpace, z: Array) -> dict[str, Any]:
    rank = 4
    rates = {"learning_rate": 1e-3, "actor_learning_rate": 1e-3, "tau": 0.01}
    own = {"latent_rank": rank, "latent_scale": scale_by_rms(z, LATENT_SHARE), "target_entropy": -rank / 2}
    return {**own, **rates, "gamma": 0.97, "layers": 3, "critics": 2, "initial_temperature": 0.03}


def _lp_ds(space: ActionSpace, z: Array) -> dict[str, Any]:
    return {**NOISE, "gamma": 0.97, "distill_steps": 1, "trust_region": float(space.size)}


SETTINGS: Mapping[str, Callable[[ActionSpace, Array], dict[str, Any]]] = {
    "usr": _usr,
    "dsrl-na": _dsrl_na,
    "dsrl-sac": _dsrl_sac,
    "policy-decorator": _policy_decorator,
    "zprl": _zprl,
    "lp-ds": _lp_ds,
}


def settings_of(method: str, space: ActionSpace, z: Array) -> MethodConfig:
    """Of `method` for actions in `space`, with latents `z` [n, Z] as the frozen policy has them at work.

    Raises `ConfigError` for another method.
    """
    if method not in SETTINGS:
        raise ConfigError(f"--method {method}: no settings for it{nearest(method, list(SETTINGS))}")
    return method_config(method, **COMMON, **SETTINGS[method](space, z))
