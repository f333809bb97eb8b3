"""A chunk bandit with a bimodal decoder: small enough to learn in seconds, hard enough to need what a method has.

A state is a number in [-1, 1]. The decoder goes left or right by the sign of its first noise entry, and is a fixed
error off in both; success is to be within a tolerance of the right-hand goal. Noise picks the side, a residual
removes the error.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robot_rl.types import ActionSpace, Array, Context, LabelValue, PolicySpec, Steering, Transition

SPACE = ActionSpace("ee_delta", ("dx", "dy", "dz", "gripper"), ("m",) * 4, (-0.01, -0.01, -0.01, 0.0), (0.01, 0.01, 0.01, 0.08))
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


class BimodalDecoder:
    """y = +-5 mm by the sign of w[0, 1]; z = the state's scale of 1 mm plus a little of w; deterministic."""

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


def episode(number: int, adapter, rng: np.random.Generator, height: float, *, explore: bool = True):
    """One chunk, one label: ([Transition], LabelValue)."""
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
