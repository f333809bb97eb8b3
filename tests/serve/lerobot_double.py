"""A double of the parts of `lerobot` 0.6 that `robot_rl.serve.lerobot` uses, with policies of a few weights.

Names, arguments and who calls whom are lerobot's; what is computed is not. `with_lerobot.py` asks the real one.
"""

from __future__ import annotations

import enum
import json
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

STATE, LANGUAGE = "observation.state", "observation.language"
WIDTH, LAYERS, DENOISING = 6, 2, 4


class FeatureType(str, enum.Enum):
    STATE = "STATE"
    VISUAL = "VISUAL"
    ENV = "ENV"
    ACTION = "ACTION"
    LANGUAGE = "LANGUAGE"


@dataclass
class PolicyFeature:
    type: FeatureType
    shape: tuple[int, ...]


class Config(types.SimpleNamespace):
    """Of any kind: the attributes of its config.json, and those that lerobot's have of themselves."""

    input_features: Mapping[str, PolicyFeature]
    output_features: Mapping[str, PolicyFeature]

    @classmethod
    def from_pretrained(cls, folder: Path) -> Config:
        plain = json.loads((folder / "config.json").read_text())
        for key in ("input_features", "output_features"):
            named = plain[key].items()
            plain[key] = {name: PolicyFeature(FeatureType(each["type"]), tuple(each["shape"])) for name, each in named}
        return cls(**{"n_obs_steps": 1, "device": "cpu", **plain})

    @property
    def action_feature(self) -> PolicyFeature:
        return self.output_features["action"]

    @property
    def image_features(self) -> dict[str, PolicyFeature]:
        return {key: each for key, each in self.input_features.items() if each.type is FeatureType.VISUAL}


class Policy(nn.Module):
    """Loads as lerobot's do: `from_pretrained(folder, config=)`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(cls, folder: Path, *, config: Config) -> Policy:
        policy = cls(config)
        policy.load_state_dict(load_file(folder / "model.safetensors"))
        return policy.eval()

    def reset(self) -> None:
        """Queues are forgotten."""


class DiffusionModel(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        seen = STATE_SIZE + len(config.image_features)
        self.net = nn.Linear(config.n_obs_steps * seen, config.action_feature.shape[0])

    def _prepare_global_conditioning(self, batch: dict[str, Tensor]) -> Tensor:
        parts = [batch[STATE]]
        if self.config.image_features:
            assert batch["observation.images"].ndim == 6  # B, S, cameras, C, H, W
            parts.append(batch["observation.images"].mean((-3, -2, -1)))
        assert all(part.shape[1] == self.config.n_obs_steps for part in parts)
        return torch.cat(parts, -1).flatten(1)

    def conditional_sample(
        self, batch_size: int, global_cond: Tensor | None = None, generator: Any = None, noise: Tensor | None = None
    ) -> Tensor:
        assert global_cond is not None
        size = (batch_size, self.config.horizon, self.config.action_feature.shape[0])
        sample = torch.randn(size) if noise is None else noise
        for _ in range(DENOISING):
            sample = torch.tanh(sample + self.net(global_cond)[:, None])
            if self.config.noise_scheduler_type == "DDPM":
                sample = sample + 0.1 * torch.randn_like(sample)
        return sample


class DiffusionPolicy(Policy):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.diffusion = DiffusionModel(config)

    def predict_action_chunk(self, batch: dict[str, Tensor], noise: Tensor | None = None) -> Tensor:
        raise AssertionError("nobody asks for what is computed twice")


class DynamicCache:
    """As transformers' one: a layer's keys and values, [B, heads, tokens, D]."""

    def __init__(self) -> None:
        self.layers: list[Any] = []

    def update(self, keys: Tensor, values: Tensor, layer: int) -> None:
        assert layer == len(self.layers)
        self.layers.append(types.SimpleNamespace(keys=keys, values=values))


class Transformer(nn.Module):
    """The language model with its expert; its cache is a `DynamicCache`, or as in lerobot 0.4's SmolVLA a dict."""

    def __init__(self, *, as_dict: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        self.as_dict, self.prefixes = as_dict, 0

    def forward(
        self,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        use_cache: bool | None = None,
    ) -> tuple[list[Tensor | None], Any]:
        assert inputs_embeds is not None
        prefix, suffix = inputs_embeds
        if suffix is not None:
            pairs = past_key_values.values() if self.as_dict else map(vars, past_key_values.layers)
            hidden = suffix
            for layer, pair in zip(self.layers, pairs, strict=True):
                keys, values = pair.values()
                weights = torch.softmax(hidden @ keys[:, 0].mT, -1)
                hidden = torch.tanh(layer(hidden) + weights @ values[:, 0])
            return [None, hidden], None
        assert attention_mask is not None
        self.prefixes += 1
        cache: Any = {} if self.as_dict else DynamicCache()
        hidden = prefix
        for index, layer in enumerate(self.layers):
            hidden = torch.tanh(layer(hidden)) * attention_mask.unsqueeze(-1)
            pair = (hidden[:, None], -hidden[:, None])
            if self.as_dict:
                cache[index] = dict(zip(("key_states", "value_states"), pair, strict=True))
            else:
                cache.update(*pair, index)
        return [hidden, None], cache


class FlowModel(nn.Module):
    def __init__(self, config: Config, transformer: str) -> None:
        super().__init__()
        self.config, self.transformer = config, transformer
        setattr(self, transformer, Transformer(as_dict=transformer == "vlm_with_expert"))
        self.look, self.words = nn.Linear(3, WIDTH), nn.Embedding(32, WIDTH)
        self.into, self.out = nn.Linear(config.max_action_dim, WIDTH), nn.Linear(WIDTH, config.max_action_dim)
        self.state = nn.Linear(STATE_SIZE, WIDTH)

    def embed_prefix(self, images: Any, masks: Any, tokens: Tensor, padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        looked = self.look(torch.stack([image.mean((-2, -1)) for image in images], 1))
        real = torch.cat([torch.stack(masks, 1), padding], 1)
        return torch.cat([looked, self.words(tokens)], 1), real, torch.zeros_like(real)

    def sample_actions(
        self, images: Any, masks: Any, tokens: Tensor, padding: Tensor, state: Tensor, noise: Tensor | None = None
    ) -> Tensor:
        embedded, real, _ = self.embed_prefix(images, masks, tokens, padding)
        assert embedded.dtype == torch.float32
        both = getattr(self, self.transformer)
        _, cache = both.forward(attention_mask=real, inputs_embeds=[embedded, None], use_cache=True)
        x = torch.randn(len(state), self.config.chunk_size, self.config.max_action_dim) if noise is None else noise
        for _ in range(DENOISING):
            suffix = self.into(x) + self.state(state)[:, None]
            outputs, _ = both.forward(past_key_values=cache, inputs_embeds=[None, suffix])
            x = x - 0.25 * self.out(outputs[1])
        return x


class PI0Policy(Policy):
    transformer = "paligemma_with_expert"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model = FlowModel(config, self.transformer)

    def predict_action_chunk(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        images = [batch[key] for key in self.config.image_features if key in batch]
        masks = [torch.ones(len(image), dtype=torch.bool) for image in images]
        for _ in range(len(self.config.image_features) - len(images)):  # cameras that it was trained without
            images.append(torch.full_like(images[0], -1.0))
            masks.append(torch.zeros_like(masks[0]))
        words = batch[f"{LANGUAGE}.tokens"], batch[f"{LANGUAGE}.attention_mask"]
        actions = self.model.sample_actions(images, masks, *words, batch[STATE], **kwargs)
        return actions[:, :, : self.config.action_feature.shape[0]]


class SmolVLAPolicy(PI0Policy):
    transformer = "vlm_with_expert"


class ACTPolicy(Policy):
    """Takes no noise."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.net = nn.Linear(STATE_SIZE, config.chunk_size * config.action_feature.shape[0])

    def predict_action_chunk(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.tanh(self.net(batch[STATE])).reshape(len(batch[STATE]), self.config.chunk_size, -1)


class XVLAPolicy(ACTPolicy):
    """Takes noise, ignores it, and draws its own."""

    def predict_action_chunk(self, batch: dict[str, Tensor], noise: Tensor | None = None) -> Tensor:
        actions = super().predict_action_chunk(batch)
        return actions + 0.1 * torch.randn_like(actions)


class EO1Policy(ACTPolicy):
    """Takes whatever it is given, and ignores it."""

    def predict_action_chunk(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        return super().predict_action_chunk(batch)


class GoodPolicy(ACTPolicy):
    """Of a kind that nobody here knows; takes noise and uses it."""

    def predict_action_chunk(self, batch: dict[str, Tensor], noise: Tensor | None = None) -> Tensor:
        actions = super().predict_action_chunk(batch)
        assert noise is not None
        return actions + 0.1 * noise[..., : actions.shape[-1]]


class Preprocess:
    """Normalises the state by 2 and turns a prompt into tokens, five of them, padded; batches are as lerobot's."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def __call__(self, raw: dict[str, Any]) -> dict[str, Any]:
        batch = {key: value / 2 if key == STATE else value for key, value in raw.items()}
        tokens = torch.zeros(len(raw["task"]), 5, dtype=torch.int64)
        for row, task in enumerate(raw["task"]):
            for at, word in enumerate(task.split()):
                tokens[row, at] = 1 + len(word)
        batch |= {f"{LANGUAGE}.tokens": tokens, f"{LANGUAGE}.attention_mask": tokens > 0}
        return batch | {"action": None, "next.reward": 0.0, "info": {}}


class Unnormalizer:
    def state_dict(self) -> dict[str, Tensor]:
        return {"action.min": torch.tensor(LOW), "action.max": torch.tensor(HIGH), f"{STATE}.min": torch.zeros(1)}


class Postprocess:
    """[N, A] in [-1, 1] -> between the data's bounds."""

    def __init__(self) -> None:
        self.steps: list[Any] = [Unnormalizer()]

    def __call__(self, action: Tensor) -> Tensor:
        assert action.ndim == 2
        low, high = torch.tensor(LOW), torch.tensor(HIGH)
        return (action + 1) / 2 * (high - low) + low


class RelativeActionsProcessorStep:
    enabled = True


STATE_SIZE, LOW, HIGH = 8, [-0.01, -0.01, -0.01, 0.0], [0.01, 0.01, 0.01, 0.08]
KINDS: Mapping[str, type[Policy]] = {
    "diffusion": DiffusionPolicy,
    "pi0": PI0Policy,
    "smolvla": SmolVLAPolicy,
    "act": ACTPolicy,
    "xvla": XVLAPolicy,
    "eo1": EO1Policy,
    "good": GoodPolicy,
}


def install(monkeypatch: pytest.MonkeyPatch) -> Preprocess:
    """`lerobot` is this, until the test ends; returns the preprocessor of all its checkpoints."""
    preprocess = Preprocess()

    def make_pre_post_processors(
        policy_cfg: Config, pretrained_path: str | None = None, **overrides: Any
    ) -> tuple[Preprocess, Postprocess]:
        assert overrides == {"preprocessor_overrides": {"device_processor": {"device": "cpu"}}}
        return preprocess, Postprocess()

    contents: Mapping[str, Mapping[str, Any]] = {
        "lerobot": {},
        "lerobot.configs": {},
        "lerobot.configs.policies": {"PreTrainedConfig": Config},
        "lerobot.policies": {},
        "lerobot.policies.factory": {
            "get_policy_class": KINDS.__getitem__,
            "make_pre_post_processors": make_pre_post_processors,
        },
    }
    for name, values in contents.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return preprocess


def write(folder: Path, kind: str, settings: Mapping[str, Any], **more: Any) -> Path:
    """A checkpoint of random weights, with `settings` beside it; `more` is of its config."""
    pictures = {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 16, 24]} for name in ("left", "wrist")}
    config = {
        "type": kind,
        "input_features": {STATE: {"type": "STATE", "shape": [STATE_SIZE]}, **pictures},
        "output_features": {"action": {"type": "ACTION", "shape": [4]}},
        "noise_scheduler_type": "DDPM",
        **({"horizon": 8, "n_action_steps": 6} if kind == "diffusion" else {"chunk_size": 6, "max_action_dim": 7}),
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "robot_rl.json").write_text(json.dumps(settings))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = KINDS[kind](Config.from_pretrained(folder))
    save_file(policy.state_dict(), folder / "model.safetensors")
    return folder
