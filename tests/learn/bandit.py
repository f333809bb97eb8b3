"""A chunk bandit with a bimodal decoder: small enough to learn in seconds, hard enough to need what a method has.

A state is a number in [-1, 1]. The decoder goes left or right by the sign of its first noise entry, and is a fixed
error off in both; success is to be within a tolerance of the right-hand goal. Noise picks the side, a residual
removes the error.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robot_rl.config import MethodConfig
from robot_rl.learn.learner import Learner
from robot_rl.protocols import Adapter
from robot_rl.types import ActionSpace, Array, Context, LabelValue, PolicySpec, Steering, Transition

SPACE = ActionSpace(
    kind="ee_delta",
    names=("dx", "dy", "dz", "gripper"),
    units=("m",) * 4,
    low=(-0.01, -0.01, -0.01, 0.0),
    high=(0.01, 0.01, 0.01, 0.08),
)
T, A, F = 2, 4, 3
SPEC = PolicySpec(
    policy_id="bandit",
    observation={"tcp_pose": (7,)},
    action_space=SPACE,
    horizon=T,
    step_s=0.05,
    noise_shape=(T, A),
    features=F,
    latent=None,
    deterministic=True,
    decodes_from_features=True,
)


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
WITH_RESIDUAL = SMALL.model_copy(update={"residual_layout": "constant", "residual_scale": (0.0, 0.0, 0.002, 0.0)})


class BimodalDecoder:
    """y = +-5 mm by the sign of w[0, 1]; z = 1 mm times the state plus a little of w; deterministic."""

    def decode(self, features: Tensor, noise: Tensor) -> Tensor:
        chunk = torch.zeros(len(noise), T, A)
        chunk[..., 1] = 0.005 * torch.tanh(8 * noise[:, :1, 1])
        chunk[..., 2] = 0.001 * features[:, :1] + 0.0002 * noise[..., 2]
        chunk[..., 3] = 0.04
        return chunk


def state(rng: np.random.Generator) -> Array:
    """[F]."""
    return np.array([rng.uniform(-1, 1), 1.0, 0.0], np.float32)


def chunk_of(features: Array, steering: Steering) -> tuple[Array, Array]:
    """(base, final) [T, A]."""
    decoded = BimodalDecoder().decode(torch.from_numpy(features)[None], torch.from_numpy(steering.noise)[None])
    base = decoded[0].numpy()
    return base, base + steering.residual


def succeeded(features: Array, chunk: Array, height: float) -> bool:
    """On the right, and within 0.6 mm of `height` (m) above where the decoder goes."""
    return bool(chunk[0, 1] > 0.003 and abs(chunk[0, 2] - 0.001 * features[0] - height) < 0.0006)


def episode(
    number: int, adapter: Adapter, rng: np.random.Generator, height: float, *, explore: bool = True
) -> tuple[list[Transition], LabelValue]:
    """One chunk, one label."""
    features = state(rng)
    steering = adapter.steer(Context(features=features[None]), rng, explore=explore)
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
    )
    return [transition], label


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
    """An episode of `count` random chunks with a steer of size `steer`."""
    rng = np.random.default_rng([seed, number])
    return [
        Transition(
            episode=number,
            index=i,
            features=rng.standard_normal(F).astype(np.float32),
            next_features=rng.standard_normal(F).astype(np.float32),
            noise=rng.standard_normal((T, A)).astype(np.float32),
            steer=rng.uniform(-1, 1, steer).astype(np.float32),
            base_chunk=np.zeros((T, A), np.float32),
            executed_chunk=rng.uniform(-0.01, 0.01, (T, A)).astype(np.float32),
            k_executed=T,
            discount=0.97,
            terminal=i == count - 1 and not truncated,
            truncated=i == count - 1 and truncated,
        )
        for i in range(count)
    ]
