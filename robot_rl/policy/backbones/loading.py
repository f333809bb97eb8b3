"""This project's frozen policies by their checkpoints, whichever kind; torch is imported for those that need it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.errors import ConfigError, IntegrityError
from robot_rl.policy.flow import FlowPolicy
from robot_rl.protocols import FrozenPolicy

if TYPE_CHECKING:
    from robot_rl.policy.backbones.decoder import ChunkDecoder
    from robot_rl.policy.torch_flow import TorchFlow


def load_checkpoint(path: Path) -> FrozenPolicy:
    """The policy of a checkpoint (.safetensors, with its manifest beside it).

    Raises `IntegrityError` for a damaged one, `ConfigError` for one that needs torch where there is none.
    """
    beside = path.with_suffix(".json")
    try:
        manifest = json.loads(beside.read_text())
    except RecursionError as error:
        raise IntegrityError(f"{beside}: expected a policy's manifest, got JSON without end") from error
    except (OSError, ValueError):
        manifest = {}  # what is wrong is said below
    if not isinstance(manifest, dict) or "backbone" not in manifest:
        return FlowPolicy.load(path)
    try:
        from robot_rl.policy.backbones.policy import BackbonePolicy
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path}: this policy runs in torch, and {error.name} is not installed here: pip install "
            "'robot-rl[learn]', or serve it from where that is (`robot-rl serve-policy`)"
        ) from error
    return BackbonePolicy.load(path)


def decoder_of(policy: FrozenPolicy) -> TorchFlow | ChunkDecoder:
    """The decoder in torch of one of this project's policies, for a learner. Raises `ConfigError` for another one."""
    from robot_rl.policy.backbones.policy import BackbonePolicy
    from robot_rl.policy.torch_flow import TorchFlow

    if isinstance(policy, FlowPolicy):
        return TorchFlow.from_policy(policy)
    if isinstance(policy, BackbonePolicy):
        return policy.backbone.chunks
    raise ConfigError(f"expected a policy of this project, got {type(policy).__name__}: it cannot be decoded in torch")
