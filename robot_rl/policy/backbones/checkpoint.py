"""A backbone on disk: weights as safetensors, beside them a manifest with the spec and all settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from robot_rl.config import PolicyConfig
from robot_rl.errors import ConfigError, IntegrityError
from robot_rl.policy.backbones.model import Backbone
from robot_rl.policy.backbones.seeing import feature_size, keys_of
from robot_rl.policy.backbones.settings import BackboneConfig, parse_backbone
from robot_rl.policy.flow import spec_from
from robot_rl.store.files import atomic_write
from robot_rl.types import ActionSpace, PolicySpec

Sizes = Mapping[str, tuple[int, ...]]
"""Camera -> (H, W, 3)."""


def spec_of(
    config: PolicyConfig, settings: BackboneConfig, space: ActionSpace, step_s: float, sizes: Sizes, policy_id: str
) -> PolicySpec:
    """What a backbone of these settings needs and gives. Raises `ConfigError` for pictures below the crop."""
    return PolicySpec(
        policy_id=policy_id,
        observation=keys_of(settings.vision, sizes),
        action_space=space,
        horizon=config.horizon,
        step_s=step_s,
        noise_shape=(config.horizon, space.size) if settings.takes_noise else (),
        features=feature_size(settings.vision),
        latent=config.latent if settings.has_latent else None,
        deterministic=True,
        decodes_from_features=True,
    )


def write_backbone(
    out: Path,
    backbone: Backbone,
    config: PolicyConfig,
    settings: BackboneConfig,
    space: ActionSpace,
    step_s: float,
    sizes: Sizes,
) -> PolicySpec:
    """Checkpoint, then manifest; the policy is named after its weights."""
    data = save_safetensors({name: value.contiguous() for name, value in backbone.state_dict().items()})
    digest = hashlib.sha256(data).hexdigest()
    spec = spec_of(config, settings, space, step_s, sizes, f"{_kind(settings)}-{digest[:12]}")
    manifest = {
        "sha256": digest,
        "spec": asdict(spec),
        "spec_hash": spec.hash,
        "config": config.model_dump(mode="json"),
        "backbone": settings.model_dump(mode="json"),
    }
    atomic_write(out, data)
    atomic_write(out.with_suffix(".json"), json.dumps(manifest, indent=2).encode())
    return spec


def read_backbone(path: Path) -> tuple[PolicySpec, Backbone]:
    """Checked against the manifest. Raises `IntegrityError`."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text())
        data = path.read_bytes()
        got = hashlib.sha256(data).hexdigest()
        if got != manifest["sha256"]:
            raise IntegrityError(f"{path}: expected sha256 {manifest['sha256']}, got {got}; make the checkpoint again")
        config = PolicyConfig.model_validate(manifest["config"])
        settings = parse_backbone(manifest["backbone"], config)
        spec = spec_from(manifest["spec"])
        cameras = () if settings.vision is None else settings.vision.cameras
        sizes = {camera: spec.observation[f"images.{camera}"] for camera in cameras}
        meant = spec_of(config, settings, spec.action_space, spec.step_s, sizes, spec.policy_id)
        if not spec.hash == meant.hash == manifest["spec_hash"]:
            raise IntegrityError(f"{path}: expected the spec {meant} that its settings mean, got {spec}")
        backbone = Backbone(config, settings, spec.action_space)
        backbone.load_state_dict(load_safetensors(data))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ConfigError, SafetensorError) as error:
        raise IntegrityError(f"{path}: not a backbone with its manifest: {error!r}; make it again") from error
    return spec, backbone


def _kind(settings: BackboneConfig) -> str:
    parts = ["visual"] if settings.vision is not None else []
    parts += [settings.objective] + ([settings.head] if settings.takes_noise else [])
    return "-".join(parts)
