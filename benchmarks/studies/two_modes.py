"""One decision, a policy with two modes, and a goal that lies outside one of them; small enough to learn in seconds.

A state is a number in [-1, 1]. The decoder goes left or right by the sign of one noise entry, and to a height that
follows the state; success is to be on the right, and within a tolerance of a height which is a fixed error off what the
decoder goes to. Noise picks the side, a residual removes the error. The tests of learning use the same problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from robot_rl.errors import BadObservation
from robot_rl.types import ActionSpace, Array, Context, Observation, PolicySpec

SPACE = ActionSpace(
    kind="ee_delta",
    names=("dx", "dy", "dz", "gripper"),
    units=("m",) * 4,
    low=(-0.01, -0.01, -0.01, 0.0),
    high=(0.01, 0.01, 0.01, 0.08),
)
T, A, F = 2, 4, 3
STATE = "extra.state"
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
RIGHT_M = 0.003
"""What lies further to the right than this is on the right."""
TOLERANCE_M = 0.0006
"""Of the height."""


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


def succeeded(features: Array, chunk: Array, height: float) -> bool:
    """On the right, and within the tolerance of `height` (m) above where the decoder goes."""
    return bool(chunk[0, 1] > RIGHT_M and abs(chunk[0, 2] - 0.001 * features[0] - height) < TOLERANCE_M)


class TwoModesPolicy:
    """The decoder as a `FrozenPolicy`: features are read from the extra `state` [F]."""

    spec = replace(SPEC, observation={STATE: (F,)})

    def encode(self, observations: Sequence[Observation]) -> Context:
        """[B, F]. Raises `BadObservation`."""
        name = STATE.removeprefix("extra.")
        for observation in observations:
            if name not in observation.extra or observation.extra[name].shape != (F,):
                raise BadObservation(f"observation {observation.seq}: expected {STATE!r} of shape {(F,)}")
        return Context(np.stack([observation.extra[name] for observation in observations]).astype(np.float32))

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """[B, T, A] SI; there is no latent."""
        chunks: Array = BimodalDecoder().decode(torch.from_numpy(context.features), torch.from_numpy(noise)).numpy()
        return chunks


@dataclass(frozen=True)
class TwoModes:
    """The problem as a `World` of one chunk; a state is the features [F], and the chunk [T, A] once there is one."""

    height_m: float = 0.001
    policy = TwoModesPolicy()
    decoder = BimodalDecoder()

    def start(self, rng: np.random.Generator) -> tuple[Array, Array | None]:
        return state(rng), None

    def observe(self, state: tuple[Array, Array | None]) -> Observation:
        nothing: Array = np.zeros(0)
        pose = np.array([0, 0, 0, 0, 0, 0, 1.0])
        return Observation(0, {}, nothing, nothing, pose, 0.04, np.zeros(6), extra={"state": state[0]})

    def step(self, state: tuple[Array, Array | None], chunk: Array) -> tuple[Array, Array | None]:
        return state[0], chunk

    def outcome(self, state: tuple[Array, Array | None]) -> bool | None:
        return None if state[1] is None else succeeded(state[0], state[1], self.height_m)
