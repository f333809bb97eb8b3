"""The `backbone` entry of a task file's policy section, checked.

What it shares with the plain flow policy stays in the policy section itself (`config.PolicyConfig`): horizon, widths,
embedding, latent, `ode_steps` (of a diffusion: its DDIM steps), training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from robot_rl.config import PolicyConfig, Section, explain
from robot_rl.errors import ConfigError


class VisionConfig(Section):
    """What the policy looks at: one encoder a camera, trained from scratch with the rest (ZPRL, appendix)."""

    cameras: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], ...] = Field(min_length=1)
    """Names of the scene's cameras, each read as `images.<camera>`."""
    crop: int = Field(default=88, ge=33)
    """Pixels of a side of what is looked at: a random square in training, the middle one at work.

    The encoder's maps have a 32nd of its sides: below 33 there is one place, and nothing is where.
    """
    width: int = Field(default=64, ge=8, multiple_of=8)
    """Channels of the encoder's first stage; 64 is ResNet-18."""
    embedding: int = Field(default=64, ge=1)
    """Size of one picture's share of the features; 256 in the paper."""
    keypoints: int = Field(default=32, ge=1)
    """Of the spatial softmax."""
    threads: int = Field(default=2, ge=1)
    """torch's, in training; another number may give other bits."""


class BackboneConfig(Section):
    """How chunks are drawn, by which network, and from what."""

    objective: Literal["flow", "diffusion", "bins"] = "flow"
    """bins: a Behavior-Transformer-like policy without noise; it takes no head and no bottleneck."""
    head: Literal["mlp", "unet"] = "mlp"
    bottleneck: bool = True
    """A variational bottleneck beside the policy (ZPRL section IV-A)."""
    channels: tuple[int, ...] = Field(default=(64, 128), min_length=1)
    """Of the U-Net's levels, each of half the steps of the one before; multiples of 8."""
    kernel: int = Field(default=5, ge=1)
    """Steps that a convolution of the U-Net spans; odd."""
    prediction: Literal["epsilon", "sample"] = "epsilon"
    """What the diffusion's network estimates: the noise that was added, or the clean chunk."""
    timesteps: int = Field(default=100, ge=2)
    """N, of the diffusion's noise schedule."""
    bins: int = Field(default=24, ge=2)
    """K, cluster centres of whole chunks."""
    choice: Literal["likeliest", "drawn"] = "likeliest"
    """Which bin: the likeliest, or one drawn by a generator that the features themselves seed."""
    vision: VisionConfig | None = None
    """None: the state with the object's pose, as the plain flow policy reads it."""

    @model_validator(mode="after")
    def _fits(self) -> BackboneConfig:
        if any(size < 8 or size % 8 for size in self.channels):
            raise ValueError(f"channels: expected multiples of 8, got {list(self.channels)}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd number, got {self.kernel}")
        return self

    @property
    def takes_noise(self) -> bool:
        """Whether noise decides the chunk."""
        return self.objective != "bins"

    @property
    def has_latent(self) -> bool:
        """Whether there is a bottleneck."""
        return self.takes_noise and self.bottleneck


def parse_backbone(raw: Mapping[str, Any], policy: PolicyConfig) -> BackboneConfig:
    """Check a policy section's `backbone`. Raises `ConfigError` with the nearest known key."""
    try:
        settings = BackboneConfig.model_validate(dict(raw))
    except ValidationError as error:
        raise ConfigError("policy.backbone: " + "; ".join(explain(BackboneConfig, error))) from error
    halvings = 2 ** (len(settings.channels) - 1)
    if settings.takes_noise and settings.head == "unet" and policy.horizon % halvings:
        raise ConfigError(
            f"policy.backbone.channels: {len(settings.channels)} levels halve the chunk {halvings}-fold, expected a "
            f"horizon that is a multiple of {halvings}, got {policy.horizon}; name fewer channels"
        )
    if settings.objective == "diffusion" and policy.ode_steps > settings.timesteps:
        raise ConfigError(
            f"policy.ode_steps: expected at most the diffusion's {settings.timesteps} timesteps, got {policy.ode_steps}"
        )
    return settings
