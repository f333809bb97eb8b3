"""Settings, checkpoints and demonstrations with frames, as files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.config import PolicyConfig
from robot_rl.errors import BadObservation, ConfigError, IntegrityError
from robot_rl.policy.backbones.demonstrations import SeenDemonstrations
from robot_rl.policy.backbones.loading import decoder_of, load_checkpoint
from robot_rl.policy.backbones.policy import BackbonePolicy
from robot_rl.policy.backbones.settings import parse_backbone
from robot_rl.policy.backbones.training import train
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.serve.loading import load_policy
from robot_rl.testing.policy import noise_for
from tests.policy.backbones.conftest import KINDS, look, make, small
from tests.policy.conftest import SPACE

DIFFUSION = KINDS["diffusion, MLP"]


@pytest.fixture
def checkpoint(seen: SeenDemonstrations, tmp_path: Path) -> Path:
    make(seen, DIFFUSION, tmp_path)
    return tmp_path / "policy.safetensors"


def test_the_same_demonstrations_and_settings_make_the_same_policy(
    seen: SeenDemonstrations, checkpoint: Path, tmp_path: Path
) -> None:
    again = train(seen, small(DIFFUSION), SPACE, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == checkpoint.read_bytes()
    other = train(seen, small(DIFFUSION, seed=1), SPACE, tmp_path / "other.safetensors")
    assert again.policy_id == BackbonePolicy.load(checkpoint).spec.policy_id != other.policy_id
    assert not list(tmp_path.glob("*.training"))


def test_an_interrupted_training_makes_the_same_policy(
    seen: SeenDemonstrations, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"

    class Interrupted(Exception):
        pass

    def stop(stage: str, step: int, steps: int, loss: float) -> None:
        if stage == "bottleneck":
            raise Interrupted

    with pytest.raises(Interrupted):
        train(seen, small(DIFFUSION), SPACE, out, stop)
    assert out.with_suffix(".training").exists()
    stages: list[str] = []
    train(seen, small(DIFFUSION), SPACE, out, lambda stage, *rest: stages.append(stage))
    assert set(stages) == {"bottleneck"}  # what was done is not done again
    assert out.read_bytes() == checkpoint.read_bytes()


def test_every_kind_is_found_by_its_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    policy = load_checkpoint(checkpoint)
    assert isinstance(policy, BackbonePolicy)
    served = load_policy(str(checkpoint))
    assert served.spec == policy.spec
    noise = noise_for(policy.spec, 2)
    np.testing.assert_array_equal(
        served.decode(served.encode(look(2)), noise), policy.decode(policy.encode(look(2)), noise)
    )
    tasks = Path(__file__).parents[3] / "robot_rl" / "tasks"
    plain = load_checkpoint(tasks / "lid_opening.safetensors")
    assert isinstance(plain, FlowPolicy)
    assert isinstance(decoder_of(plain), TorchFlow)
    with pytest.raises(IntegrityError, match="manifest"):
        load_checkpoint(tmp_path / "nothing.safetensors")
    with pytest.raises(ConfigError, match="of this project"):
        decoder_of(object())  # type: ignore[arg-type]


def test_where_there_is_no_torch_that_is_said(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "robot_rl.policy.backbones.policy", None)  # as if its imports were missing
    with pytest.raises(ConfigError, match=r"runs in torch.*serve-policy"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"backbone": {"objective": "flow", "head": "unet", "channels": [8]}}, "Missing key"),
        ({"backbone": {"objective": "bins"}}, "that its settings mean"),
        ({"backbone": {"objektive": "flow"}}, "objective"),
        ({"config": {}}, "checkpoint"),
        ({"spec_hash": "0" * 64}, "that its settings mean"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(checkpoint: Path, change: dict[str, Any], words: str) -> None:
    manifest = json.loads(checkpoint.with_suffix(".json").read_text()) | change
    checkpoint.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match=words):
        load_checkpoint(checkpoint)


def test_frames_come_back_as_they_were(seen: SeenDemonstrations, tmp_path: Path) -> None:
    seen.save(tmp_path / "seen.npz")
    again = SeenDemonstrations.load(tmp_path / "seen.npz")
    for camera, frames in seen.frames.items():
        np.testing.assert_array_equal(again.frames[camera], frames)
    np.testing.assert_array_equal(again.action, seen.action)
    np.testing.assert_array_equal(again.observation(5).images["wrist"], seen.frames["wrist"][5])
    np.testing.assert_array_equal(again.observation(5).tcp_pose, seen.tcp_pose[5])
    with pytest.raises(IntegrityError, match="expected arrays"):
        Demonstrations.load(tmp_path / "seen.npz")


def test_frames_that_are_none_are_refused(seen: SeenDemonstrations, tmp_path: Path) -> None:
    state = (seen.tcp_pose, seen.gripper_width, seen.bin_pose, seen.action, seen.episode)
    for wrong in (seen.frames["front"][:-1], seen.frames["front"] / 255.0, seen.frames["front"][..., :2]):
        with pytest.raises(BadObservation, match="frames of 'front' as uint8"):
            SeenDemonstrations(*state, frames={"front": wrong})
    Demonstrations(*state).save(tmp_path / "blind.npz")
    with pytest.raises(IntegrityError, match=r"frames\.<camera>"):
        SeenDemonstrations.load(tmp_path / "blind.npz")


@pytest.mark.parametrize(
    ("raw", "changes", "words"),
    [
        ({"objectve": "flow"}, {}, "unknown key; did you mean 'objective'"),
        ({"objective": "flw"}, {}, "objective"),
        ({"head": "unet", "channels": [8, 16, 24]}, {"horizon": 6}, "multiple of 4, got 6"),
        ({"channels": [12]}, {}, "multiples of 8"),
        ({"kernel": 4}, {}, "odd"),
        ({"objective": "diffusion", "timesteps": 4}, {"ode_steps": 8}, "at most the diffusion's 4"),
        ({"vision": {"cameras": []}}, {}, "cameras"),
        ({"vision": {"cameras": ["a.b"]}}, {}, "cameras"),
    ],
)
def test_settings_say_what_is_wrong_with_them(raw: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    policy = PolicyConfig(checkpoint="x.safetensors").model_copy(update=changes)
    with pytest.raises(ConfigError, match=words):
        parse_backbone(raw, policy)
