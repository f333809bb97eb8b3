"""A task small enough to clone in seconds: a point goes to one of two ears of a bin, then pushes forward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_rl.config import PolicyConfig
from robot_rl.policy.cloning import CloneReport, clone
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.types import ActionSpace, Array, Observation

SPACE = ActionSpace(
    kind="ee_delta",
    names=("dx", "dy", "dz", "gripper"),
    units=("m", "m", "m", "m"),
    low=(-0.012, -0.012, -0.012, 0.0),
    high=(0.012, 0.012, 0.012, 0.08),
)
CONFIG = PolicyConfig(
    checkpoint="flow.safetensors",
    hidden=128,
    layers=2,
    embedding=32,
    train_steps=1500,
    bottleneck_steps=800,
    batch=256,
    learning_rate=2e-3,
)
EAR = 0.05
"""m: half the distance between the ears."""


def make_demonstrations(episodes: int, seed: int = 0) -> Demonstrations:
    """Half of the experts first move across to the left ear, half to the right, 11 mm a step; then forward to it."""
    rng = np.random.default_rng(seed)
    tcp, bins, actions, numbers = [], [], [], []
    for episode in range(episodes):
        yaw = rng.uniform(-0.25, 0.25)
        pose = np.array([rng.uniform(0.45, 0.62), rng.uniform(-0.12, 0.12), 0.0, yaw])
        left = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        side = left * EAR * rng.choice([-1, 1])
        height = np.array([0.0, 0.0, 0.12 + rng.normal(0, 0.003)])
        at = np.array([0.30, 0.0, 0.20]) + rng.normal(0, 0.01, 3)
        ear = pose[:3] + side + height
        for goal in (at - left * (left @ (at - ear)), ear):
            while np.linalg.norm(goal - at) > 1e-3:
                step = goal - at
                step *= min(1.0, 0.011 / np.linalg.norm(step))
                tcp.append([*at, 1.0, 0.0, 0.0, 0.0])
                bins.append(pose)
                actions.append([*step, 0.02])
                numbers.append(episode)
                at = at + step
    steps = len(numbers)
    width = np.full(steps, 0.02)
    return Demonstrations(np.array(tcp), width, np.array(bins), np.array(actions), np.array(numbers))


def observe(tcp: Array, bin_pose: Array, width: float = 0.02) -> Observation:
    """An observation of the TCP at [3] m and the bin at [4]."""
    return Observation(
        seq=1,
        stamps_ns={"robot": 0, "bin_pose": 0},
        q=np.zeros(7),
        dq=np.zeros(7),
        tcp_pose=np.array([*tcp, 1.0, 0.0, 0.0, 0.0]),
        gripper_width=width,
        wrench=np.zeros(6),
        extra={"bin_pose": np.asarray(bin_pose, dtype=np.float64)},
    )


@pytest.fixture(scope="session")
def demonstrations() -> Demonstrations:
    return make_demonstrations(120)


@pytest.fixture(scope="session")
def cloned(demonstrations: Demonstrations, tmp_path_factory: pytest.TempPathFactory) -> CloneReport:
    return clone(demonstrations, CONFIG, SPACE, tmp_path_factory.mktemp("policy") / "flow.safetensors")


@pytest.fixture(scope="session")
def policy(cloned: CloneReport) -> FlowPolicy:
    return FlowPolicy.load(Path(cloned.path))
