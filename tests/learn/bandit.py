"""A chunk bandit with a bimodal decoder: small enough to learn in seconds, hard enough to need what a method has.

The problem is that of the study of two modes (`benchmarks.studies.two_modes`), with a residual of the height alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.studies.two_modes import SPEC, A, BimodalDecoder, F, T, state, succeeded
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.config import MethodConfig
from robot_rl.learn.learner import Learner
from robot_rl.protocols import Adapter
from robot_rl.task_files import method_config
from robot_rl.types import Array, Context, LabelValue, PolicySpec, Steering, Transition

SMALL = MethodConfig(
    hidden=64,
    layers=2,
    batch=64,
    warmup_episodes=20,
    utd=10,
    learning_rate=1e-3,
    actor_learning_rate=1e-3,
)
"""Learns the bandit in a few hundred updates."""
LATENT_SPEC = replace(SPEC, policy_id="latent-bandit", latent=2)
"""Of a policy with a bottleneck: its first entry chooses the side."""
WITH_RESIDUAL = SMALL.model_copy(update={"residual_layout": "constant", "residual_scale": (0.0, 0.0, 0.002, 0.0)})


QUICK: dict[str, Any] = {name: getattr(SMALL, name) for name in SMALL.model_fields_set}
"""The settings of `SMALL` by name, which every method reads."""
OWN: dict[str, dict[str, Any]] = {
    "usr": {"residual_layout": "constant", "residual_scale": (0.0, 0.0, 0.002, 0.0)},
    "usr-sac": {"residual_layout": "constant", "residual_scale": (0.0, 0.0, 0.002, 0.0)},
    "policy-decorator": {"residual_layout": "constant", "residual_scale": (0.0, 0.0, 0.002, 0.0)},
    "rlpd": {"residual_layout": "constant"},
    "zprl": {"latent_scale": 0.5},
    "lp-ds": {"distill_steps": 1},
}
"""What a method needs, or is quicker with, on the bandit."""


def config_of(method: str, **settings: Any) -> MethodConfig:
    """The bandit's settings of `method`."""
    return method_config(method, **{**QUICK, **OWN.get(method, {}), **settings})


def spec_of(method: str) -> PolicySpec:
    """The bandit's policy for `method`: with a latent where the method steers one."""
    return LATENT_SPEC if method == "zprl" else SPEC


def decoder_of(method: str) -> BimodalDecoder:
    """As `spec_of`."""
    return LatentDecoder() if method == "zprl" else BimodalDecoder()


class LatentDecoder(BimodalDecoder):
    """The same chunk, but the side is that of the latent's first entry."""

    def reconstruct(self, latent: Tensor) -> Tensor:
        return latent

    def decode(self, features: Tensor, noise: Tensor, latent: Tensor | None = None) -> Tensor:
        chunk = super().decode(features, noise)
        if latent is not None:
            chunk[..., 1] = 0.005 * torch.tanh(8 * latent[:, :1])
        return chunk


def latent(rng: np.random.Generator) -> Array:
    """Z [2]."""
    return (0.3 * rng.standard_normal(2)).astype(np.float32)


def chunk_of(features: Array, steering: Steering) -> tuple[Array, Array]:
    """(base, final) [T, A]."""
    w = torch.from_numpy(steering.noise)[None]
    z = None if steering.latent is None else torch.from_numpy(steering.latent)[None]
    base = LatentDecoder().decode(torch.from_numpy(features)[None], w, z)[0].numpy()
    return base, base + steering.residual if steering.chunk is None else steering.chunk


def episode(
    number: int, adapter: Adapter, rng: np.random.Generator, height: float, *, explore: bool = True
) -> tuple[list[Transition], LabelValue]:
    """One chunk, one label."""
    features = state(rng)
    z = latent(np.random.default_rng(number if number else rng.integers(1 << 30))) if latents_of(adapter) else None
    context = Context(features[None], None if z is None else z[None])
    steering = adapter.steer(context, rng, explore=explore)
    base, final = chunk_of(features, steering)
    label = LabelValue.SUCCESS if succeeded(features, final, height) else LabelValue.FAILURE
    transition = Transition(
        episode=number,
        index=0,
        features=features,
        next_features=features,
        noise=steering.noise,
        steer=steering.steer,
        base_chunk=base,
        executed_chunk=final,
        k_executed=T,
        discount=0.97,
        terminal=True,
        truncated=False,
        z=z,
        next_z=z,
    )
    return [transition], label


def latents_of(adapter: Adapter) -> bool:
    """Whether `adapter` acts on the policy with a latent."""
    layout: SteeringLayout = adapter.layout  # type: ignore[attr-defined]
    return layout.spec.latent is not None


def run(learner: Learner, episodes: int, height: float, first: int = 1) -> dict[int, LabelValue]:
    """Let `learner` act, be labelled and learn for `episodes` episodes; returns their labels."""
    labels = {}
    for number in range(first, first + episodes):
        rng = np.random.default_rng([learner.seed, number])
        transitions, labels[number] = episode(number, learner.adapter(), rng, height)
        learner.add_episode(transitions)
        learner.set_labels(labels)
        learner.learn()
    return labels


def success_rate(adapter: Adapter, height: float, trials: int = 100) -> float:
    """On fresh states, without exploration."""
    rng = np.random.default_rng(12345)
    wins = [episode(0, adapter, rng, height, explore=False)[1] is LabelValue.SUCCESS for _ in range(trials)]
    return float(np.mean(wins))


def chunks(number: int, count: int, steer: int, *, truncated: bool = False, seed: int = 0) -> list[Transition]:
    """An episode of `count` random chunks with a steer of size `steer`, and latents."""
    rng, of_latents = np.random.default_rng([seed, abs(number)]), np.random.default_rng([seed, abs(number), 1])
    return [
        Transition(
            episode=number,
            index=i,
            features=rng.standard_normal(F).astype(np.float32),
            next_features=rng.standard_normal(F).astype(np.float32),
            noise=rng.standard_normal((T, A)).astype(np.float32),
            steer=rng.uniform(-1, 1, steer).astype(np.float32),
            base_chunk=np.full((T, A), 0.001 * (i + 1), np.float32),
            executed_chunk=rng.uniform(-0.01, 0.01, (T, A)).astype(np.float32),
            k_executed=T,
            discount=0.97,
            terminal=i == count - 1 and not truncated,
            truncated=i == count - 1 and truncated,
            z=latent(of_latents),
            next_z=latent(of_latents),
        )
        for i in range(count)
    ]
