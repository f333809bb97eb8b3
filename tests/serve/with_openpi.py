"""`python tests/serve/with_openpi.py`, in openpi's environment: the conformance suite on its own `Policy` and models.

pi0 and pi0.5 with the smallest language models that openpi has, a vision tower of two layers in the place of its 400
million weights, and random numbers as weights: nothing is downloaded. openpi's training configs and checkpoints are not
asked: a policy is made of the model as `create_trained_policy` would make it of a trained one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from openpi.models import pi0_config, siglip
from openpi.policies import policy, policy_config
from openpi.training import config

from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.loading import load_policy
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Array, Observation
from robot_rl.wire.observations import example_observation

CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
SETTINGS = {
    "config": "tiny",
    "step_s": 0.05,
    "prompt": "open the lid",
    "horizon": 8,
    "denoising_steps": 4,
    "observation": {
        "observation/state": {"tcp_pose": 7, "gripper_width": 1},
        "observation/image": {"images.front": [48, 64, 3]},
    },
    "action": {"names": ["x", "y", "z", "g"], "units": ["m"] * 4, "low": [-1] * 4, "high": [1] * 4},
}


def shrink(variant: str, whole: Any = siglip.decode_variant) -> Any:
    return {**whole(variant), "width": 64, "depth": 2, "mlp_dim": 128, "num_heads": 2}


def with_sight(model: Any) -> Any:
    """The vision tower's last layer begins as zeros: without training no picture would change anything."""
    state = nnx.state(model)
    for path, weight in state.flat_state().items():
        if "head" in path and "kernel" in path:
            weight.value = jax.random.normal(jax.random.key(1), weight.value.shape, weight.value.dtype)
    nnx.update(model, state)
    return model


def transform(data: dict[str, Any]) -> dict[str, Any]:
    """What openpi's transforms make of an observation."""
    state, tokens = np.zeros(32, np.float32), np.zeros(48, np.int32)
    state[:8], tokens[:5] = data["observation/state"], [len(data["prompt"]), 1, 4, 1, 5]
    images = {name: np.zeros((224, 224, 3), np.uint8) for name in CAMERAS}
    images[CAMERAS[0]][:48, :64] = data["observation/image"]
    return {
        "state": state,
        "image": images,
        "image_mask": {name: np.bool_(name == CAMERAS[0]) for name in CAMERAS},
        "tokenized_prompt": tokens,
        "tokenized_prompt_mask": tokens > 0,
    }


def cut(data: dict[str, Any]) -> dict[str, Array]:
    return {"actions": np.asarray(data["actions"][..., :4])}


@pytest.fixture(scope="module", params=["pi0", "pi05"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FrozenPolicy:
    """By its settings, as `serve-policy` makes it."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "params").write_text("random")
    (folder / "settings.json").write_text(json.dumps({**SETTINGS, "checkpoint": str(folder), "features": "prefix"}))
    tiny = pi0_config.Pi0Config(
        paligemma_variant="dummy",
        action_expert_variant="dummy",
        action_horizon=10,
        max_token_len=48,
        dtype="float32",
        pi05=request.param == "pi05",
    )

    def made(trained: Any, checkpoint: Path, *, sample_kwargs: dict[str, Any] | None = None) -> policy.Policy:
        return policy.Policy(
            with_sight(tiny.create(jax.random.key(0))),
            transforms=[transform],
            output_transforms=[cut],
            sample_kwargs=sample_kwargs,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(siglip, "decode_variant", shrink)
        patch.setattr(config, "get_config", lambda name: SimpleNamespace(name=name, model=tiny))
        patch.setattr(policy_config, "create_trained_policy", made)
        return load_policy(f"openpi:{folder / 'settings.json'}")


class TestOpenPi(FrozenPolicyConformance):
    @pytest.fixture
    def policy(self, served: FrozenPolicy) -> FrozenPolicy:
        return served

    @pytest.fixture
    def observations(self, served: FrozenPolicy) -> Sequence[Observation]:
        rng, seen = np.random.default_rng(0), example_observation(served.spec)
        return [
            replace(seen, tcp_pose=rng.normal(size=7), images={"front": rng.integers(0, 255, (48, 64, 3), np.uint8)})
            for _ in range(3)
        ]

    def test_its_features_are_what_the_model_sees(
        self, served: FrozenPolicy, observations: Sequence[Observation]
    ) -> None:
        one, same_state = observations[0], replace(observations[1], tcp_pose=observations[0].tcp_pose)
        first, second = served.encode([one, same_state]).features
        assert (served.spec.features, served.spec.noise_shape) == (64 + 32, (10, 32))
        assert np.abs(first[:64] - second[:64]).max() > 1e-3, "another picture"
        np.testing.assert_array_equal(first[64:], second[64:])


if __name__ == "__main__":
    sys.exit(
        pytest.main(
            [__file__, "-q", "-p", "no:cacheprovider", "--noconftest", "-W", "ignore", "-rs", "-c", "/dev/null"]
        )
    )
