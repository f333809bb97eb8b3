"""Cloning a backbone from demonstrations: end to end first, then the bottleneck on what is frozen by then.

As in `policy.cloning`: chunks are scaled to unit spread, noise and chunk are paired at random, and the averaged weights
are kept. Pictures are cut to a random square; the bottleneck is trained on the middle ones, as the policy sees at work.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robot_rl.config import PolicyConfig
from robot_rl.errors import ConfigError
from robot_rl.policy.backbones.bins import cluster
from robot_rl.policy.backbones.checkpoint import spec_of, write_backbone
from robot_rl.policy.backbones.decoder import ChunkDecoder
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.policy.backbones.fitting import Kept, fit
from robot_rl.policy.backbones.model import Backbone
from robot_rl.policy.backbones.seeing import proprioception
from robot_rl.policy.backbones.settings import BackboneConfig, VisionConfig, parse_backbone
from robot_rl.policy.cloning import (
    SMALLEST_CHUNK_SPREAD,
    SMALLEST_SPREAD,
    CloneReport,
    Progress,
    one_thread,
)
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import action_scale
from robot_rl.policy.latent_axes import latent_axes
from robot_rl.types import ActionSpace, Array, PolicySpec, canonical_hash

LOOK = 256
"""Pictures that are encoded at a time once the eyes are frozen."""


@dataclass(frozen=True)
class Windows:
    """One window a step of the demonstrations."""

    state: Tensor
    """[N, S] of unit spread."""
    chunks: Tensor
    """[N, T, A] of unit spread."""
    frames: Mapping[str, Array]
    """Camera -> uint8 [N, H, W, 3]."""


def train(
    demos: Demonstrations,
    config: PolicyConfig,
    space: ActionSpace,
    out: Path,
    progress: Progress | None = None,
    *,
    step_s: float = 0.05,
    keep_every_s: float = 60.0,
) -> CloneReport:
    """Write `out` (.safetensors) and its manifest (.json); `step_s` is the control period in s.

    While it lasts it is kept beside `out` (.training): the same call takes it up again. Raises `ConfigError` when
    settings, demonstrations and action space do not fit each other.
    """
    started = time.monotonic()
    settings = parse_backbone(config.backbone or {}, config)
    frames = _frames(demos, settings.vision)
    if demos.action.shape[1] != space.size:
        raise ConfigError(f"expected demonstrations of {space.size} actions, got {demos.action.shape[1]}")
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = Kept(out.with_suffix(".training"), _named(demos, frames, config), keep_every_s)
    with one_thread(config.seed):
        if settings.vision is not None:
            torch.set_num_threads(settings.vision.threads)
        backbone = Backbone(config, settings, space)
        sizes = {camera: pictures.shape[1:] for camera, pictures in frames.items()}
        windows = _windows(demos, frames, backbone, config.horizon, space)
        if backbone.chunks.bins is not None:
            backbone.chunks.bins.get_buffer("centres").copy_(cluster(windows.chunks, settings.bins))
        backbone, loss = _train_policy(backbone, windows, config, settings, progress, kept)
        bottleneck_loss, kl = None, None
        if settings.has_latent:
            bottleneck_loss, kl = _train_bottleneck(backbone, windows, config, progress)
            _turn_latent(backbone.chunks, spec_of(config, settings, space, step_s, sizes, ""))
    spec = write_backbone(out, backbone, config, settings, space, step_s, sizes)
    kept.forget()
    return CloneReport(
        path=str(out),
        policy_id=spec.policy_id,
        demonstrations=demos.episodes,
        windows=len(windows.chunks),
        parameters=sum(value.numel() for value in backbone.state_dict().values()),
        loss=loss,
        bottleneck_loss=bottleneck_loss,
        kl=kl,
        seconds=time.monotonic() - started,
    )


def _train_policy(
    backbone: Backbone,
    windows: Windows,
    config: PolicyConfig,
    settings: BackboneConfig,
    progress: Progress | None,
    kept: Kept,
) -> tuple[Backbone, float]:
    """Eyes, embedding and head or bins; what the bottleneck is made of has no gradient here and stays."""

    def loss(rows: Tensor) -> tuple[Tensor, ...]:
        squares = {} if backbone.eyes is None else backbone.eyes.anywhere(windows.frames, rows)
        c = backbone.chunks.embed(backbone.features(windows.state[rows], squares))
        return (backbone.chunks.loss(windows.chunks[rows], c),)

    bottleneck, backbone.chunks.bottleneck = backbone.chunks.bottleneck, None
    averaged, (mean,) = fit(
        settings.objective, backbone, loss, len(windows.chunks), steps=config.train_steps, batch=config.batch,
        learning_rate=config.learning_rate, progress=progress, kept=kept,
    )  # fmt: skip
    averaged.chunks.bottleneck = bottleneck
    return averaged, mean


def _train_bottleneck(
    backbone: Backbone, windows: Windows, config: PolicyConfig, progress: Progress | None
) -> tuple[float, float]:
    """ZPRL equation 5, in place; embedding and head are frozen, which is the paper's stopped gradient."""
    backbone.eval().requires_grad_(False)
    chunks, bottleneck = backbone.chunks, backbone.chunks.bottleneck
    assert bottleneck is not None
    bottleneck.requires_grad_(True)
    embedded = chunks.embed(_features(backbone, windows))

    def loss(rows: Tensor) -> tuple[Tensor, ...]:
        reconstructed, kl = bottleneck(embedded[rows])
        under = chunks.loss(windows.chunks[rows], reconstructed)
        return under + config.kl_weight * kl, under, kl

    averaged, (_, under, kl) = fit(
        "bottleneck", bottleneck, loss, len(embedded), steps=config.bottleneck_steps, batch=max(config.batch, LOOK),
        learning_rate=config.learning_rate, progress=progress,
    )  # fmt: skip
    chunks.bottleneck = averaged
    return under, kl


def _turn_latent(chunks: ChunkDecoder, spec: PolicySpec) -> None:
    """Into the axes in which it moves the chunk (`policy.latent_axes`)."""
    chunks.requires_grad_(False)
    assert chunks.bottleneck is not None
    chunks.bottleneck.turn_by(torch.from_numpy(latent_axes(chunks, spec)))


@torch.no_grad()
def _features(backbone: Backbone, windows: Windows) -> Tensor:
    """[N, F], of the pictures' middle squares."""
    parts = []
    for rows in torch.arange(len(windows.state)).split(LOOK):
        first, last = int(rows[0]), int(rows[-1]) + 1
        pictures = {camera: frames[first:last] for camera, frames in windows.frames.items()}
        squares = {} if backbone.eyes is None else backbone.eyes.middle(pictures)
        parts.append(backbone.features(windows.state[rows], squares))
    return torch.cat(parts)


def _windows(
    demos: Demonstrations, frames: Mapping[str, Array], backbone: Backbone, horizon: int, space: ActionSpace
) -> Windows:
    """Sets the scales of `backbone`, too."""
    raw, chunks = demos.windows(horizon)
    if backbone.vision is not None:
        raw = proprioception(demos.tcp_pose, demos.gripper_width)
    _set(backbone, raw.mean(axis=0), np.maximum(raw.std(axis=0), SMALLEST_SPREAD))
    mid, half = action_scale(space)
    normal = np.clip((chunks - mid) / half, -1.0, 1.0)
    mean, scale = normal.mean(axis=(0, 1)), np.maximum(normal.std(axis=(0, 1)), SMALLEST_CHUNK_SPREAD)
    _set(backbone.chunks, mean, scale)
    targets = torch.from_numpy(((normal - mean) / scale).astype(np.float32))
    return Windows(backbone.normal(raw), targets, frames)


def _set(module: torch.nn.Module, mean: Array, scale: Array) -> None:
    module.get_buffer("mean").copy_(torch.from_numpy(mean))
    module.get_buffer("scale").copy_(torch.from_numpy(scale))


def _frames(demos: Demonstrations, vision: VisionConfig | None) -> dict[str, Array]:
    """Of the cameras that are looked at. Raises `ConfigError`."""
    if vision is None:
        return {}
    there = demos.frames if isinstance(demos, SeenDemonstrations) else {}
    if missing := [camera for camera in vision.cameras if camera not in there]:
        raise ConfigError(
            f"the policy looks at {missing[0]!r}, expected demonstrations with its frames, got {sorted(there)}; record "
            "them with `robot-rl demos` on the same task"
        )
    return {camera: there[camera] for camera in vision.cameras}


def _named(demos: Demonstrations, frames: Mapping[str, Array], config: PolicyConfig) -> str:
    """A digest of everything that decides a training."""
    digest = hashlib.sha256(canonical_hash(config.model_dump(mode="json")).encode())
    for array in (demos.tcp_pose, demos.gripper_width, demos.bin_pose, demos.action, demos.episode, *frames.values()):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
