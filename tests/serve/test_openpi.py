"""openpi's policies as frozen policies: the conformance suite, here and through the server, and by their settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import ConfigError
from robot_rl.protocols import FrozenPolicy
from robot_rl.serve.loading import load_policy
from robot_rl.serve.openpi import wrap
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Observation
from tests.serve import openpi_double
from tests.serve.doubles import SPACE, SeeingPolicy, observation
from tests.serve.openpi_double import ModelConfig, Policy
from tests.serve.served import served

SPEC = replace(SeeingPolicy().spec, policy_id="pi", features=11, latent=None, noise_shape=(10, 32))
KEYS = {"tcp_pose": "observation/state", "images.front": "observation/image", "extra.bin_pose": "observation/bin"}
SETTINGS: dict[str, Any] = {
    "config": "pi05_double",
    "step_s": 0.05,
    "observation": {
        "observation/state": {"tcp_pose": 7, "gripper_width": 1, "extra.bin_pose": 4},
        "observation/image": {"images.front": [4, 4, 3]},
    },
    "prompt": "open the lid",
    "horizon": 8,
    "action": {
        "kind": SPACE.kind,
        "names": list(SPACE.names),
        "units": list(SPACE.units),
        "low": list(SPACE.low),
        "high": list(SPACE.high),
    },
}


class Conformance(FrozenPolicyConformance):
    __test__ = False

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        return [observation(seq) for seq in range(3)]


class TestOpenPi(Conformance):
    __test__ = True

    @pytest.fixture(params=["here", "served"])
    def policy(self, request: pytest.FixtureRequest) -> Iterator[FrozenPolicy]:
        policy = wrap(Policy(ModelConfig()), SPEC, KEYS, "open the lid")
        if request.param == "here":
            yield policy
        else:
            yield from served(policy)


class TestOpenPiBySettings(Conformance):
    __test__ = True

    @pytest.fixture
    def policy(self, saved: Path) -> FrozenPolicy:
        return load_policy(f"openpi:{saved}")


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings and a checkpoint, in openpi's environment."""
    openpi_double.install(monkeypatch)
    (tmp_path / "checkpoint" / "params").mkdir(parents=True)
    (tmp_path / "checkpoint" / "params" / "scale").write_text("1.0")
    return write(tmp_path / "settings.json")


def write(path: Path, **changed: Any) -> Path:
    settings = {**SETTINGS, "checkpoint": str(path.parent / "checkpoint"), **changed}
    path.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))
    return path


def test_it_gets_its_own_keys_its_prompt_and_the_noise() -> None:
    double, given = Policy(ModelConfig()), np.ones((1, 10, 32), np.float32)
    policy, seen = wrap(double, SPEC, KEYS, "open the lid"), observation(1)
    chunk = policy.decode(policy.encode([seen]), given)
    inputs = {
        "observation/state": seen.tcp_pose,
        "observation/image": seen.images["front"],
        "observation/bin": seen.extra["bin_pose"],
        "prompt": "open the lid",
    }
    expected = double.infer(inputs, noise=given[0])["actions"][:8]
    np.testing.assert_allclose(chunk[0], expected, rtol=1e-6)
    assert set(double.prompts) == {"open the lid"}
    with pytest.raises(ConfigError, match="images"):
        wrap(double, SPEC, {"tcp_pose": "observation/state"})


def test_keys_that_are_one_vector_there_are_put_together_in_their_order() -> None:
    double, seen = Policy(ModelConfig()), observation(1)
    spec = replace(SPEC, observation={**SPEC.observation, "gripper_width": ()})
    keys = dict.fromkeys(("tcp_pose", "gripper_width", "extra.bin_pose"), "observation/state")
    policy = wrap(
        double, spec, {**keys, "images.front": "observation/image"}, "x", features=lambda values: np.zeros(11)
    )
    policy.decode(policy.encode([seen]), np.ones((1, 10, 32), np.float32))
    np.testing.assert_array_equal(double.states[0], [*seen.tcp_pose, seen.gripper_width, *seen.extra["bin_pose"]])


def test_settings_and_openpis_config_make_the_spec(saved: Path) -> None:
    spec = load_policy(f"openpi:{saved}").spec
    assert spec.policy_id.startswith("openpi-pi05_double-")
    assert spec.observation == {
        "tcp_pose": (7,),
        "gripper_width": (),
        "extra.bin_pose": (4,),
        "images.front": (4, 4, 3),
    }
    assert (spec.horizon, spec.noise_shape, spec.features) == (8, (10, 32), 12)
    assert (spec.action_space, spec.deterministic) == (SPACE, True)


def test_other_weights_or_other_settings_are_another_policy(saved: Path) -> None:
    first = load_policy(f"openpi:{saved}").spec.policy_id
    fewer = load_policy(f"openpi:{write(saved, denoising_steps=2)}").spec.policy_id
    (saved.parent / "checkpoint" / "params" / "scale").write_text("2.0")
    assert len({first, fewer, load_policy(f"openpi:{write(saved)}").spec.policy_id}) == 3


def test_a_policy_that_takes_no_noise_or_ignores_it_is_refused_and_served_without_when_that_is_said(
    saved: Path,
) -> None:
    with pytest.raises(ConfigError, match=r"gives no chunk: TypeError: .*noise"):
        load_policy(f"openpi:{write(saved, config='pi0_fast_double')}")
    with pytest.raises(ConfigError, match=r'accepts noise and ignores it.*write "noise": false into settings.json'):
        load_policy(f"openpi:{write(saved, config='pi0_deaf')}")
    spec = load_policy(f"openpi:{write(saved, config='pi0_fast_double', noise=False)}").spec
    assert (spec.noise_shape, spec.deterministic) == ((), True)
    assert not load_policy(f"openpi:{write(saved, config='pi0_deaf', noise=False)}").spec.deterministic


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"config": None}, "config is missing; expected at least config, checkpoint"),
        ({"config": "pi06"}, "openpi cannot load it: ValueError: Config 'pi06' not found"),
        ({"checkpoint": "gs://nowhere"}, "openpi cannot load it: FileNotFoundError"),
        ({"step_s": 0}, "step_s: expected seconds"),
        ({"promt": "x"}, "unknown key 'promt'; did you mean 'prompt'"),
        ({"noise": "yes"}, "noise: expected true or false"),
        ({"features": "all"}, "features: expected state or prefix, got 'all'"),
        ({"features": "prefix"}, '"prefix" is for pi0 and pi0.5 in JAX, got ModelConfig'),
        ({"horizon": 11}, "plans 10 steps, got 11"),
        ({"observation": {}}, "observation: expected openpi's keys"),
        ({"observation": {"observation/state": {"tcp_pose": 6}}}, "tcp_pose: expected 7 numbers, got 6"),
        ({"observation": {"observation/state": {"tcp_pos": 7}}}, "did you mean 'tcp_pose'"),
        ({"observation": {"a": {"q": 7}, "b": {"q": 7}}}, "q is there twice"),
        ({"observation": {"a": {"images.front": [4, 4]}}}, r"expected a picture alone, as \[height, width, 3\]"),
        ({"observation": {"a": {"q": 7, "images.front": [4, 4, 3]}}}, "expected a picture alone"),
        ({"action": {"names": ["x"]}}, "units: expected one for each number"),
        ({"action": {**SETTINGS["action"], "low": [1.0] * 4}}, "expected low below high"),
        ({"action": {"names": ["x"], "units": ["m"], "low": [-1], "high": [1]}}, r"expected a chunk \(8, 1\)"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_with_the_key(
    saved: Path, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(Exception, match=words) as caught:
        load_policy(f"openpi:{write(saved, **changed)}")
    assert type(caught.value).__name__ in ("ConfigError", "SpecMismatch")


def test_without_openpi_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="served from openpi's environment"):
        load_policy(f"openpi:{write(tmp_path / 'settings.json')}")
    with pytest.raises(ConfigError, match=r"expected the settings of a policy of openpi .*No such file"):
        load_policy(f"openpi:{tmp_path / 'none.json'}")
