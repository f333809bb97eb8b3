"""A frozen policy for tests: reads a pose and a small image, chunk = tanh of the noise plus what it sees."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import numpy as np

from robot_rl.serve.server import PolicyServer
from robot_rl.types import ActionSpace, Array, Context, Observation, PolicySpec

SPACE = ActionSpace(
    "ee_delta",
    ("dx", "dy", "dz", "gripper"),
    ("m", "m", "m", "m"),
    (-0.012, -0.012, -0.012, 0),
    (0.012, 0.012, 0.012, 0.08),
)


class SeeingPolicy:
    """Decodes only contexts that it encoded itself if `from_features` is False."""

    def __init__(self, name: str = "seeing", from_features: bool = False) -> None:
        self.spec = PolicySpec(
            policy_id=name,
            observation={"tcp_pose": (7,), "images.front": (4, 4, 3), "extra.bin_pose": (4,)},
            action_space=SPACE,
            horizon=8,
            step_s=0.05,
            noise_shape=(8, 4),
            features=12,
            latent=2,
            deterministic=True,
            decodes_from_features=from_features,
        )
        self.encoded = 0

    def encode(self, observations: Sequence[Observation]) -> Context:
        self.encoded += len(observations)
        rows = [
            np.concatenate([o.tcp_pose, o.extra["bin_pose"], [o.images["front"].mean() / 255]]) for o in observations
        ]
        features = np.asarray(rows, np.float32)
        return Context(features, features[:, :2].copy())

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        z = context.z if latent is None else latent
        assert z is not None
        seen = context.features.sum(axis=1)[:, None, None] + z.sum(axis=1)[:, None, None]
        return np.asarray(0.01 * np.tanh(noise + seen), np.float32)


def wait_ready(server: PolicyServer, policy: SeeingPolicy) -> None:
    """Until `server` is warm; what it encoded for that does not count."""
    end = time.monotonic() + 10
    while not server.ready:
        assert time.monotonic() < end, "the server does not get ready"
        time.sleep(0.001)
    policy.encoded = 0


def make() -> SeeingPolicy:
    """For `python -m robot_rl.serve tests.serve.doubles:make`; $POLICY_NAME makes it another model."""
    return SeeingPolicy(os.environ.get("POLICY_NAME", "seeing"))


class BrokenPolicy(SeeingPolicy):
    """Fails on whatever it sees."""

    def encode(self, observations: Sequence[Observation]) -> Context:
        raise RuntimeError("no such kernel")


def make_broken() -> BrokenPolicy:
    """As `make`."""
    return BrokenPolicy()


def observation(seq: int = 0) -> Observation:
    """Observations of different `seq` show something else; one camera and one extra that the policy does not read."""
    rng = np.random.default_rng(seq)
    image = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Observation(
        seq=seq,
        stamps_ns={"robot": seq, "front": seq},
        q=rng.normal(size=7),
        dq=np.zeros(7),
        tcp_pose=rng.normal(size=7),
        gripper_width=0.04,
        wrench=np.zeros(6),
        images={"front": image, "side": np.zeros((64, 64, 3), np.uint8)},
        extra={"bin_pose": rng.normal(size=4), "other": np.zeros(3)},
    )


def noise(batch: int = 1, seed: int = 0) -> Array:
    """[B, 8, 4] float32."""
    return np.random.default_rng(seed).standard_normal((batch, 8, 4)).astype(np.float32)
