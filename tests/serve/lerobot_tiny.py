"""Tiny policies of the real lerobot, of random weights, saved as its training saves them. Nothing is downloaded.

The code is lerobot's own. Only sizes that it fixes in the code (of pi0's language and vision models) are replaced, and
the tokenizers, which would come from the hub, by one of these words. `pi0` and `pi05` are factories for a server's
process, which has to replace the sizes too: `python -m robot_rl.serve lerobot_tiny:pi0`, with the folder in `TINY`.
"""

import functools
import importlib
import json
import os
from pathlib import Path

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.processor import TokenizerProcessorStep
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from robot_rl.serve.lerobot import LeRobotPolicy, load

STATE, ACTION, SIDE = 8, 4, 64
SPECIAL = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}
WORDS = ["[PAD]", "[UNK]", *SPECIAL.values(), "open", "the", "lid", "Task", "State", "Action", *map(str, range(256))]
SETTINGS = {
    "step_s": 0.05,
    "state": {"tcp_pose": 7, "gripper_width": 1},
    "cameras": {"observation.images.front_left": "front"},
    "prompt": "open the lid",
    "action": {"kind": "ee_delta", "names": ["x", "y", "z", "gripper"], "units": ["m", "m", "m", "m"]},
}


def build(kind: str, folder: Path) -> Path:
    """A policy of `kind` in a new folder below `folder`."""
    shrink()
    torch.manual_seed(0)
    out = folder / kind
    config_module = importlib.import_module(f"lerobot.policies.{kind}.configuration_{kind}")
    config_class = next(value for name, value in vars(config_module).items() if name.endswith(f"{NAMES[kind]}Config"))
    config = config_class(
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (STATE,)),
            "observation.images.front_left": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
            "observation.images.wrist": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTION,))},
        device="cpu",
        push_to_hub=False,
        **SIZES[kind](folder),
    )
    policy = get_policy_class(kind)(config)
    policy.save_pretrained(out)
    processors = importlib.import_module(f"lerobot.policies.{kind}.processor_{kind}")
    if hasattr(processors, "TokenizerProcessorStep"):
        words = str(tokenizer(folder))
        processors.TokenizerProcessorStep = lambda **settings: TokenizerProcessorStep(
            **{**settings, "tokenizer_name": words}
        )
    for each in make_pre_post_processors(config, dataset_stats=statistics()):
        each.save_pretrained(out)
    (out / "robot_rl.json").write_text(json.dumps({**SETTINGS, **MORE.get(kind, {})}))
    return out


def statistics() -> dict[str, dict[str, torch.Tensor]]:
    """As of a dataset of small motions."""
    low, high = torch.tensor([-0.01, -0.01, -0.01, 0.0]), torch.tensor([0.01, 0.01, 0.01, 0.08])
    picture = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.3)}
    picture |= {"min": torch.zeros(3, 1, 1), "max": torch.ones(3, 1, 1)}
    state = {"mean": torch.zeros(STATE), "std": torch.ones(STATE), "min": -torch.ones(STATE), "max": torch.ones(STATE)}
    state |= {"q01": state["min"], "q99": state["max"]}
    action = {"mean": (low + high) / 2, "std": (high - low) / 4, "min": low, "max": high, "q01": low, "q99": high}
    images = {f"observation.images.{name}": picture for name in ("front_left", "wrist")}
    return {"observation.state": state, "action": action, **images}


def tokenizer(folder: Path) -> Path:
    """`WORDS`, as transformers reads it."""
    out = folder / "words"
    if not out.exists():
        words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        made = PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", extra_special_tokens=SPECIAL
        )
        made.save_pretrained(out)
    return out


def vision_language_model(folder: Path) -> Path:
    """What SmolVLA reads of the hub: a config and a processor, no weights."""
    from transformers import SmolVLMConfig, SmolVLMProcessor
    from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    out = folder / "smolvlm"
    words = PreTrainedTokenizerFast.from_pretrained(tokenizer(folder))
    text = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": len(WORDS)}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": SIDE, "patch_size": 8}
    SmolVLMConfig(text_config=text, vision_config=vision, scale_factor=2, image_token_id=2).save_pretrained(out)
    template = "{{ messages }}"
    SmolVLMProcessor(SmolVLMImageProcessor(), words, SmolVLMVideoProcessor(), chat_template=template).save_pretrained(
        out
    )
    return out


def small_vlm(make, config):
    """The PaliGemma of lerobot with a small vision tower and few words."""
    text, vision = config.text_config, config.vision_config
    config._vocab_size = text.vocab_size = 512
    config.image_token_index = 511
    vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers, vision.num_attention_heads = 32, 64, 1, 2
    vision.projection_dim = config.projection_dim = text.hidden_size
    return make(config=config)


def shrink() -> None:
    """The sizes of pi0's and pi0.5's models, in this process."""
    for kind in ("pi0", "pi05"):
        module = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
        small = module.GemmaConfig(width=64, depth=2, mlp_dim=128, num_heads=8, num_kv_heads=1, head_dim=16)
        module.get_gemma_config = lambda variant, small=small: small
        if not isinstance(module.PaliGemmaForConditionalGenerationWithPiGemma, functools.partial):
            real = module.PaliGemmaForConditionalGenerationWithPiGemma
            module.PaliGemmaForConditionalGenerationWithPiGemma = functools.partial(small_vlm, real)


def pi0() -> LeRobotPolicy:
    """For the server's process."""
    shrink()
    return load(Path(os.environ["TINY"]))


def _diffusion(folder: Path):
    steps = {"n_obs_steps": 2, "horizon": 8, "n_action_steps": 6, "drop_n_last_frames": 1}
    net = {"down_dims": (16, 32), "n_groups": 4, "diffusion_step_embed_dim": 16, "spatial_softmax_num_keypoints": 4}
    return {**steps, **net, "num_train_timesteps": 10, "pretrained_backbone_weights": None, "use_group_norm": True}


def _pi(folder: Path):
    return {"chunk_size": 6, "n_action_steps": 6, "num_inference_steps": 4, "image_resolution": (28, 28)}


def _smolvla(folder: Path):
    sizes = {"chunk_size": 6, "n_action_steps": 6, "num_steps": 4, "resize_imgs_with_padding": (SIDE, SIDE)}
    return {**sizes, "num_vlm_layers": 2, "vlm_model_name": str(vision_language_model(folder))}


def _act(folder: Path):
    sizes = {"dim_model": 32, "n_heads": 2, "dim_feedforward": 64, "n_encoder_layers": 1, "latent_dim": 4}
    return {
        **sizes,
        "n_vae_encoder_layers": 1,
        "chunk_size": 6,
        "n_action_steps": 6,
        "pretrained_backbone_weights": None,
    }


NAMES = {"diffusion": "Diffusion", "pi0": "PI0", "pi05": "PI05", "smolvla": "SmolVLA", "act": "ACT"}
SIZES = {"diffusion": _diffusion, "pi0": _pi, "pi05": _pi, "smolvla": _smolvla, "act": _act}
MORE = {"diffusion": {"repeat_observation": True}}
