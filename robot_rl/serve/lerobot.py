"""lerobot's policies as frozen policies: `python -m robot_rl.serve lerobot:FOLDER`, in lerobot's environment.

FOLDER is what lerobot's `save_pretrained` wrote (`config.json`, `model.safetensors`, the pre- and postprocessor), with
a `robot_rl.json` beside it (`lerobot_settings.py`). Policies that can be steered by their noise: diffusion, pi0, pi0.5,
SmolVLA. One that accepts noise and ignores it is refused when it is loaded: it is asked three times, twice with the
same. Diffusion is sampled by DDIM, whatever its config says: DDPM draws noise of its own at every step.

What the spec says: `images.<camera>` [H, W, 3] for each of the checkpoint's pictures, the state's parts as
`robot_rl.json` names them (`extra.state` otherwise), `extra.environment_state`; the horizon is the chunk that lerobot
gives, `n_action_steps` for diffusion and `chunk_size` for most others. Features are diffusion's global conditioning,
which is also enough to decode; of pi0, pi0.5 and SmolVLA what `lerobot_models.Prefixed` pools, then the state; of any
other the state. The state in features is normalised, as the policy sees it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.errors import BadAction, ConfigError, SpecMismatch
from robot_rl.serve.lerobot_models import Model, model_of
from robot_rl.serve.lerobot_settings import NAME, LeRobotSettings, read_settings
from robot_rl.serve.lerobot_spec import action_space, observed
from robot_rl.serve.trying import tried
from robot_rl.types import Array, Context, Observation, PolicySpec
from robot_rl.wire.observations import check_observation, value_of

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
SET: dict[str, Any] = {
    "noise_scheduler_type": "DDIM",  # its chunk depends on nothing but the noise
    "compile_model": False,  # compiled, what is computed once could not be kept
    "rtc_config": None,  # guides a chunk by the one before it: a state that no observation shows
    "pretrained_backbone_weights": None,  # would be downloaded, and then replaced by the checkpoint's
    "load_vlm_weights": False,  # the same
}
"""What lerobot's configs are set to, those that have it."""
STEPS = ("num_inference_steps", "num_steps")
"""What they call `denoising_steps`."""


def load(folder: Path) -> LeRobotPolicy:
    """The policy that lerobot's `save_pretrained` wrote to `folder`. Nothing of it is downloaded.

    (A policy that reads a prompt needs its tokenizer, which lerobot finds by name on disk or in the hub's cache.)
    Raises `ConfigError` that says what is missing or cannot be served.
    """
    for name in ("config.json", WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder}: no {name}: expected a folder that lerobot's save_pretrained wrote")
    settings = read_settings(folder)
    try:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    except ImportError as error:
        raise ConfigError(
            f"{error}: lerobot:FOLDER is served from lerobot's environment, install this one there"
        ) from error
    try:
        config = PreTrainedConfig.from_pretrained(folder)
        _configure(config, settings)
        policy = get_policy_class(config.type).from_pretrained(folder, config=config)
        to_device = {"device_processor": {"device": config.device}}
        preprocess, postprocess = make_pre_post_processors(
            config, pretrained_path=str(folder), preprocessor_overrides=to_device
        )
    except Exception as error:  # whatever lerobot raises: who loads it is told which checkpoint and why
        raise ConfigError(f"{folder}: lerobot cannot load it: {type(error).__name__}: {error}") from error
    policy.eval()
    _check_weights(policy, folder / WEIGHTS)
    return LeRobotPolicy(policy, preprocess, postprocess, settings, f"{config.type}-{_digest(folder)}")


class LeRobotPolicy:
    """A policy of lerobot and its processors behind the two calls. All calls belong to one thread at a time."""

    def __init__(
        self, policy: Any, preprocess: Any, postprocess: Any, settings: LeRobotSettings, policy_id: str
    ) -> None:
        """`preprocess` and `postprocess` are lerobot's pipelines. Raises `ConfigError` for what cannot be served."""
        config = policy.config
        past = getattr(config, "n_obs_steps", 1)
        if past > 1 and not settings.repeat_observation:
            raise ConfigError(
                f"lerobot's {config.type} reads {past} observations, and a robot here shows the newest: train it with "
                f'n_obs_steps 1, or write "repeat_observation": true into {NAME} to show it the newest {past} times'
            )
        if any(getattr(step, "enabled", False) for step in preprocess.steps if "Relative" in type(step).__name__):
            raise ConfigError(
                "use_relative_actions: lerobot's postprocessor adds the state that it read last, which may be another "
                "robot's: train with absolute actions, or with ones that are deltas in the dataset"
            )
        self._preprocess, self._postprocess = preprocess, postprocess
        self._prompt, self._device = settings.prompt or "", config.device
        self._model: Model = model_of(policy, config.type, noise=settings.noise)
        self._keys, shapes = observed(config, settings)
        self.spec = PolicySpec(
            policy_id=policy_id,
            observation=shapes,
            action_space=action_space(config, postprocess, settings),
            horizon=0,
            step_s=settings.step_s,
            noise_shape=self._model.noise_shape,
            features=0,
            latent=None,
            deterministic=True,
            decodes_from_features=self._model.from_features,
        )
        self.spec = tried(self, f"lerobot's {config.type}", f'write "noise": false into {NAME}')

    def encode(self, observations: Sequence[Observation]) -> Context:
        """B observations -> features [B, F]. Raises `BadObservation`."""
        import torch

        for observation in observations:
            check_observation(observation, self.spec)
        with torch.inference_mode():
            features, seen = self._model.encode(self._batch(observations))
            return Context(features.float().cpu().numpy().copy(), state=tuple(seen))

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        """Noise [B, *noise_shape] -> chunks [B, T, A], in the units of the data that it was trained on, float32."""
        import torch

        if latent is not None:
            raise BadAction("latent: a policy of lerobot has none to decode with")
        known = len(context.features if self._model.from_features else context.state)
        if known != len(noise):
            raise SpecMismatch(f"expected a context of {len(noise)} that this policy encoded, got {known}")
        with torch.inference_mode():
            features, given = (
                torch.tensor(each, dtype=torch.float32, device=self._device) for each in (context.features, noise)
            )
            actions = self._model.decode(features, context.state, given).float()
            rows = self._postprocess(actions.reshape(-1, actions.shape[-1]))
            chunks: Array = rows.reshape(actions.shape).float().cpu().numpy().copy()
            return chunks

    def _batch(self, observations: Sequence[Observation]) -> dict[str, Tensor]:
        """As lerobot's policies take it: preprocessed, batch first."""
        import torch

        raw: dict[str, Any] = {"task": [self._prompt] * len(observations)}
        for key, ours in self._keys.items():
            if ours[0].startswith("images."):
                pictures = torch.from_numpy(np.stack([value_of(each, ours[0]) for each in observations]))
                raw[key] = pictures.permute(0, 3, 1, 2).float() / 255
            else:
                values = [[value_of(each, part).reshape(-1) for part in ours] for each in observations]
                raw[key] = torch.from_numpy(np.stack([np.concatenate(row) for row in values]).astype(np.float32))
        batch = self._preprocess(raw)
        return {key: value for key, value in batch.items() if key.startswith("observation.") and torch.is_tensor(value)}


def _configure(config: Any, settings: LeRobotSettings) -> None:
    """Before the policy is made. Raises `ConfigError`."""
    if getattr(config, "use_peft", False):
        raise ConfigError("use_peft: merge the adapter into its base policy and save that")
    for name, value in SET.items():
        if hasattr(config, name):
            setattr(config, name, value)
    if settings.device is not None:
        config.device = settings.device
    if settings.denoising_steps is not None:
        known = [name for name in STEPS if hasattr(config, name)]
        if not known:
            raise ConfigError(f"{NAME}: denoising_steps: lerobot's {config.type} has no such number")
        setattr(config, known[0], settings.denoising_steps)


def _check_weights(policy: Any, path: Path) -> None:
    """Raises `ConfigError` unless the file's weights are the policy's.

    lerobot's pi0 and pi0.5 answer a file that they cannot read with a line of print and random weights.
    """
    from safetensors import safe_open

    ours, same, other = policy.state_dict(), 0, []
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118  (it is no dictionary)
            weight = ours.get(key, ours.get(f"model.{key}"))
            slice_ = file.get_slice(key)
            if weight is None or tuple(slice_.get_shape()) != tuple(weight.shape) or not weight.dim():
                continue
            saved = slice_[:1].to(weight)  # a row of each is enough to tell
            if bool((saved == weight[:1]).all()):
                same += 1
            else:
                other.append(key)
    if other or not same:
        raise ConfigError(
            f"{path}: lerobot did not load it: {same} of {same + len(other)} weights are the file's"
            + (f", {other[0]} is not" if other else "")
        )


def _digest(folder: Path) -> str:
    """Of everything that makes a chunk: another checkpoint is another policy."""
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.json"), *folder.glob("*.safetensors"))):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]
