"""Backbones of every kind, small and trained for a moment: what conformance asks needs no skill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.config import PolicyConfig
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.policy.backbones.policy import BackbonePolicy
from robot_rl.policy.backbones.training import train
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.types import Array, Observation
from tests.policy.conftest import SPACE, make_demonstrations, observe

SMALL = PolicyConfig(
    checkpoint="small.safetensors", hidden=32, layers=2, embedding=16, latent=8, ode_steps=4, train_steps=6,
    bottleneck_steps=6, batch=16,
)  # fmt: skip
UNET = {"head": "unet", "channels": [8, 16], "kernel": 3}
VISION = {"cameras": ["front", "wrist"], "crop": 36, "width": 8, "embedding": 8, "keypoints": 8, "threads": 1}
KINDS: dict[str, dict[str, Any]] = {
    "flow, MLP": {"objective": "flow"},
    "flow, U-Net": {"objective": "flow", **UNET},
    "flow, U-Net, no bottleneck": {"objective": "flow", "bottleneck": False, **UNET},
    "diffusion, MLP": {"objective": "diffusion"},
    "diffusion, U-Net, no bottleneck": {"objective": "diffusion", "bottleneck": False, **UNET},
    "diffusion of samples, U-Net": {"objective": "diffusion", "prediction": "sample", **UNET},
    "bins, the likeliest": {"objective": "bins", "bins": 4},
    "bins, drawn": {"objective": "bins", "bins": 4, "choice": "drawn"},
    "visual flow, MLP": {"objective": "flow", "vision": VISION},
    "visual diffusion, U-Net, no bottleneck": {
        "objective": "diffusion", "bottleneck": False, "vision": VISION, **UNET
    },
    "visual bins": {"objective": "bins", "bins": 4, "vision": VISION},
}  # fmt: skip


def small(backbone: dict[str, Any], **changes: Any) -> PolicyConfig:
    return SMALL.model_copy(update={"backbone": backbone, **changes})


def pictures(count: int, seed: int = 0) -> Array:
    """uint8 [count, 40, 40, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 40, 40, 3), np.uint8)


@pytest.fixture(scope="session")
def seen() -> SeenDemonstrations:
    """Of 8 episodes; the pictures show nothing that helps."""
    plain = make_demonstrations(8)
    frames = {camera: pictures(len(plain.episode), seed) for seed, camera in enumerate(("front", "wrist"))}
    return SeenDemonstrations(
        plain.tcp_pose, plain.gripper_width, plain.bin_pose, plain.action, plain.episode, frames=frames
    )


def make(demos: Demonstrations, backbone: dict[str, Any], folder: Path, **changes: Any) -> BackbonePolicy:
    out = folder / "policy.safetensors"
    train(demos, small(backbone, **changes), SPACE, out)
    return BackbonePolicy.load(out)


def look(count: int) -> Sequence[Observation]:
    """Observations that differ in everything that any of the policies reads."""
    rng = np.random.default_rng(3)
    bins = rng.uniform([0.45, -0.12, 0.0, -0.25], [0.62, 0.12, 0.0, 0.25], (count, 4))
    shots = {camera: pictures(count, seed) for seed, camera in enumerate(("front", "wrist"), start=7)}
    made = []
    for row, bin_pose in enumerate(bins):
        plain = observe(np.array([0.30, 0.0, 0.20]) + rng.normal(0, 0.01, 3), bin_pose)
        images = {camera: frames[row] for camera, frames in shots.items()}
        made.append(Observation(**{**{n: getattr(plain, n) for n in plain.__slots__}, "images": images}))
    return made
