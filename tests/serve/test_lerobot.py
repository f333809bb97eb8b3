"""lerobot's policies as frozen ones: the conformance suite on a double of lerobot, and what is refused.

The real lerobot is asked by `with_lerobot.py`, in its own environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from robot_rl.errors import BadAction, ConfigError, SpecMismatch
from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.lerobot import LeRobotPolicy, load
from robot_rl.serve.lerobot_settings import settings_from_plain
from robot_rl.serve.loading import load_policy
from robot_rl.testing.policy import FrozenPolicyConformance, noise_for
from robot_rl.types import Context, Observation, PolicySpec
from robot_rl.wire.observations import example_observation
from tests.serve import lerobot_double as double
from tests.serve.served import served

SETTINGS: Mapping[str, Any] = {
    "step_s": 0.05,
    "state": {"tcp_pose": 7, "gripper_width": 1},
    "cameras": {"observation.images.left": "front"},
    "prompt": "open the lid",
    "action": {"kind": "ee_delta", "names": ["x", "y", "z", "gripper"], "units": ["m", "m", "m", "m"]},
}
STEERED = {"diffusion": 8, "pi0": 6, "smolvla": 6}
"""Kind -> steps of its noise."""


@pytest.fixture(autouse=True)
def preprocess(monkeypatch: pytest.MonkeyPatch) -> double.Preprocess:
    return double.install(monkeypatch)


def seen(spec: PolicySpec, count: int = 3) -> list[Observation]:
    rng, empty = np.random.default_rng(0), example_observation(spec)
    return [
        replace(
            empty,
            tcp_pose=rng.uniform(-0.5, 0.5, 7),
            gripper_width=0.01 * (row + 1),
            images={name: rng.integers(0, 256, image.shape, np.uint8) for name, image in empty.images.items()},
        )
        for row in range(count)
    ]


class TestLeRobot(FrozenPolicyConformance):
    tolerance = 1e-6

    @pytest.fixture(params=["diffusion", "smolvla", "good", "served pi0"])
    def policy(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrozenPolicy]:
        kind = request.param.removeprefix("served ")
        policy = load_policy(f"lerobot:{double.write(tmp_path, kind, SETTINGS)}")
        if kind == request.param:
            yield policy
        else:
            yield from served(policy)

    @pytest.fixture
    def observations(self, policy: FrozenPolicy) -> Sequence[Observation]:
        return seen(policy.spec)


@pytest.mark.parametrize("kind", STEERED)
def test_the_spec_is_the_checkpoints(kind: str, tmp_path: Path) -> None:
    spec = load(double.write(tmp_path, kind, SETTINGS)).spec
    assert dict(spec.observation) == {
        "tcp_pose": (7,),
        "gripper_width": (),
        "images.front": (16, 24, 3),
        "images.wrist": (16, 24, 3),
    }
    assert (spec.horizon, spec.step_s, spec.deterministic) == (6, 0.05, True)
    assert spec.noise_shape == (STEERED[kind], 4 if kind == "diffusion" else 7)
    assert spec.decodes_from_features == (kind == "diffusion")
    assert (spec.action_space.kind, spec.action_space.names) == ("ee_delta", ("x", "y", "z", "gripper"))
    np.testing.assert_allclose([spec.action_space.low, spec.action_space.high], [double.LOW, double.HIGH], rtol=1e-6)
    assert spec.features == (double.STATE_SIZE + 2 if kind == "diffusion" else double.WIDTH + double.STATE_SIZE)


def test_what_nobody_says_is_called_lerobots(tmp_path: Path) -> None:
    spec = load(double.write(tmp_path, "pi0", {"step_s": 0.1})).spec
    assert "extra.state" in spec.observation
    assert (spec.action_space.kind, spec.action_space.names[0], spec.action_space.units[0]) == (
        "lerobot",
        "action.0",
        "lerobot",
    )


def test_other_weights_and_other_settings_are_other_policies(tmp_path: Path) -> None:
    path = double.write(tmp_path, "pi0", SETTINGS)
    ids = [load(path).spec.policy_id, load(path).spec.policy_id]
    weights = load_file(path / "model.safetensors")
    save_file({key: weight + 0.1 for key, weight in weights.items()}, path / "model.safetensors")
    ids.append(load(path).spec.policy_id)
    (path / "robot_rl.json").write_text(json.dumps({**SETTINGS, "prompt": "close it"}))
    ids.append(load(path).spec.policy_id)
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def played(policy: LeRobotPolicy) -> tuple[Any, Any]:
    """pi0's policy and its transformer, within the wrapper."""
    model: Any = policy._model
    return model._policy, model._transformer


@pytest.mark.parametrize("kind", ["pi0", "smolvla"])
def test_a_flow_is_lerobots_own_and_what_it_sees_is_computed_once(kind: str, tmp_path: Path) -> None:
    policy = load(double.write(tmp_path, kind, SETTINGS))
    lerobots, transformer = played(policy)
    shown = seen(policy.spec, 1)
    noise = noise_for(policy.spec, 5)
    before = transformer.prefixes
    context = policy.encode(shown)
    chunks = policy.decode(context.repeated(5), noise)
    assert transformer.prefixes == before + 1
    batch = policy._batch(shown)
    with torch.no_grad():
        for chunk, each in zip(chunks, noise, strict=True):
            actions = lerobots.predict_action_chunk(batch, noise=torch.from_numpy(each[None]))
            np.testing.assert_allclose(chunk, double.Postprocess()(actions[0]), rtol=1e-5, atol=1e-8)
    assert transformer.prefixes == before + 6  # its own methods are back in their place


def test_padding_counts_for_nothing_in_features(tmp_path: Path) -> None:
    """Three words of five tokens, and a camera that the checkpoint was trained without."""
    path = double.write(tmp_path, "pi0", SETTINGS)
    config = json.loads((path / "config.json").read_text())
    config["input_features"]["observation.images.empty_camera_0"] = {"type": "VISUAL", "shape": [3, 16, 24]}
    (path / "config.json").write_text(json.dumps(config))
    policy = load(path)
    assert set(policy.spec.observation) == {"tcp_pose", "gripper_width", "images.front", "images.wrist"}
    _, transformer = played(policy)
    outputs: list[Any] = []
    transformer.register_forward_hook(lambda *call: outputs.append(call[2]))
    own = type(transformer).forward

    def forward(self: Any, **named: Any) -> Any:
        outputs.append(own(self, **named))
        return outputs[-1]

    type(transformer).forward = forward
    try:
        features = policy.encode(seen(policy.spec, 1)).features[0]
    finally:
        type(transformer).forward = own
    tokens = outputs[0][0][0][0]
    real = [0, 1, 3, 4, 5]  # two pictures, not the empty one, three words, not two of padding
    np.testing.assert_allclose(features[: double.WIDTH], tokens[real].mean(0), rtol=1e-5, atol=1e-7)


def test_diffusion_is_sampled_by_ddim_whatever_its_config_says(tmp_path: Path) -> None:
    """The double draws noise at every step of DDPM, as lerobot does: the conformance suite would find it."""
    policy = load(double.write(tmp_path, "diffusion", SETTINGS))
    context, noise = policy.encode(seen(policy.spec, 1)), noise_for(policy.spec, 1)
    np.testing.assert_array_equal(policy.decode(context, noise), policy.decode(context, noise))


def test_past_observations_are_repeated_only_when_asked_for(tmp_path: Path) -> None:
    path = double.write(tmp_path, "diffusion", SETTINGS, n_obs_steps=2)
    with pytest.raises(ConfigError, match=r"reads 2 observations.*repeat_observation"):
        load(path)
    path = double.write(tmp_path, "diffusion", {**SETTINGS, "repeat_observation": True}, n_obs_steps=2)
    spec = load(path).spec
    assert (spec.horizon, spec.features) == (6, 2 * (double.STATE_SIZE + 2))


@pytest.mark.parametrize("kind", ["xvla", "eo1"])
def test_a_policy_that_ignores_its_noise_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"lerobot's {kind} accepts noise and ignores it"):
        load(double.write(tmp_path, kind, SETTINGS))


def test_a_policy_without_noise_is_refused_unless_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'act takes no noise.*"noise": false'):
        load(double.write(tmp_path, "act", SETTINGS))
    policy = load(double.write(tmp_path, "act", {**SETTINGS, "noise": False}))
    assert policy.spec.noise_shape == ()
    assert policy.decode(policy.encode(seen(policy.spec)), np.zeros(3, np.float32)).shape == (3, 6, 4)
    assert not load(double.write(tmp_path, "xvla", {**SETTINGS, "noise": False})).spec.deterministic
    with pytest.raises(ConfigError, match="takes noise"):
        load(double.write(tmp_path, "pi0", {**SETTINGS, "noise": False}))


def test_weights_that_were_not_loaded_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pi0 prints a line and goes on with random weights."""
    path = double.write(tmp_path, "pi0", SETTINGS)
    monkeypatch.setattr(double.PI0Policy, "from_pretrained", classmethod(lambda cls, folder, config: cls(config)))
    with pytest.raises(ConfigError, match="did not load"):
        load(path)


def test_what_it_did_not_encode_it_does_not_decode(tmp_path: Path) -> None:
    policy = load(double.write(tmp_path, "pi0", SETTINGS))
    with pytest.raises(SpecMismatch, match="encoded"):
        policy.decode(Context(np.zeros((1, policy.spec.features), np.float32)), noise_for(policy.spec, 1))
    with pytest.raises(BadAction, match="latent"):
        policy.decode(policy.encode(seen(policy.spec, 1)), noise_for(policy.spec, 1), np.zeros((1, 2), np.float32))


def test_relative_actions_are_refused(tmp_path: Path, preprocess: double.Preprocess) -> None:
    preprocess.steps.append(double.RelativeActionsProcessorStep())
    with pytest.raises(ConfigError, match="use_relative_actions"):
        load(double.write(tmp_path, "pi0", SETTINGS))


@pytest.mark.parametrize(
    ("settings", "more", "says"),
    [
        ({"state": {"tcp_pose": 7}}, {}, "state: expected 8 numbers"),
        ({"cameras": {"observation.images.lef": "front"}}, {}, "did you mean 'observation.images.left'"),
        ({"cameras": {"observation.images.left": "wrist"}}, {}, "two pictures"),
        ({"action": {"names": ["x"]}}, {}, "names: expected 4"),
        ({"action": {"low": [1.0] * 4}}, {}, "low below high"),
        ({"denoising_steps": 3}, {}, "denoising_steps"),
        ({}, {"use_peft": True}, "use_peft"),
        ({}, {"input_features": {"observation.speech": {"type": "LANGUAGE", "shape": [3]}}}, "no observation.state"),
        ({}, {"max_action_dim": "many"}, "lerobot cannot load it"),
    ],
)
def test_what_does_not_fit_is_said(settings: dict[str, Any], more: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = double.write(tmp_path, "pi0", SETTINGS)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **more}))
    (path / "robot_rl.json").write_text(json.dumps({**SETTINGS, **settings}))
    with pytest.raises(ConfigError, match=says):
        load(path)


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ([], "expected a JSON object"),
        ({}, "step_s: expected seconds"),
        ({"step_s": -1}, "step_s"),
        ({"step_s": 0.1, "promt": "x"}, "did you mean 'prompt'"),
        ({"step_s": 0.1, "state": {"tcp_pose": 6}}, "expected 7 numbers, got 6"),
        ({"step_s": 0.1, "state": {"tcp_pos": 7}}, "did you mean 'tcp_pose'"),
        ({"step_s": 0.1, "state": []}, "state: expected"),
        ({"step_s": 0.1, "action": {"low": ["a"]}}, "action: low: expected a list of numbers"),
        ({"step_s": 0.1, "noise": 1}, "true or false"),
        ({"step_s": 0.1, "denoising_steps": 0}, "denoising_steps: expected"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(plain: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings_from_plain(plain)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json: expected a folder"):
        load_policy(f"lerobot:{tmp_path}")
    path = double.write(tmp_path, "pi0", SETTINGS)
    (path / "robot_rl.json").unlink()
    with pytest.raises(ConfigError, match=r'write robot_rl.json.*\{"step_s": 0.05\}'):
        load(path)
    (path / "robot_rl.json").write_text(json.dumps(SETTINGS))
    monkeypatch.setitem(sys.modules, "lerobot.policies.factory", None)
    with pytest.raises(ConfigError, match="lerobot's environment"):
        load(path)


def test_the_real_lerobot() -> None:
    pytest.skip("lerobot pins an older torch: `python tests/serve/with_lerobot.py` in its environment, CONTRIBUTING.md")
