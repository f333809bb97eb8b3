"""`python tests/serve/with_lerobot.py`: the conformance suite on policies of the real `lerobot`.

Each is made tiny and of random weights, saved by lerobot, and served by `python -m robot_rl.serve` in a process of its
own, which the suite asks through the client. Not a test of CI: `lerobot` pins an older torch. CONTRIBUTING.md has the
command.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this disk is not looked for elsewhere

import lerobot_tiny as tiny
import numpy as np
import pytest
import torch

from robot_rl.errors import ConfigError, SpecMismatch
from robot_rl.policy.remote import RemotePolicy
from robot_rl.serve.lerobot import load
from robot_rl.testing.policy import FrozenPolicyConformance, noise_for
from robot_rl.types import Context
from robot_rl.wire.observations import example_observation

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lerobot")


def seen(spec, count=3):
    """Observations that differ in all that a policy reads."""
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


class Served(FrozenPolicyConformance):
    """Built once per kind; the process ends with the class."""

    __test__ = False
    kind = ""

    @pytest.fixture(scope="class")
    @classmethod
    def remote(cls, folder):
        path = tiny.build(cls.kind, folder)
        policy = "lerobot_tiny:pi0" if cls.kind.startswith("pi0") else f"lerobot:{path}"
        command = [sys.executable, "-m", "robot_rl.serve", policy, "--endpoint", "tcp://127.0.0.1:*"]
        names = {**os.environ, "TINY": str(path), "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
        with subprocess.Popen(command, env=names, stdout=subprocess.PIPE, text=True) as server:
            try:
                line = next((line for line in server.stdout if line.startswith("serving")), "")
                assert line, f"the server ended with {server.wait()}"
                remote = RemotePolicy(line.split()[-1], timeout_s=30.0)
                print(f"\n{line.strip()}: {remote.spec}")
                yield remote
                remote.close()
            finally:
                server.terminate()
                server.wait(60)

    @pytest.fixture
    def policy(self, remote):
        return remote

    @pytest.fixture
    def observations(self, remote):
        return seen(remote.spec)

    def test_the_spec_is_the_checkpoints(self, remote):
        assert dict(remote.spec.observation) == {
            "tcp_pose": (7,),
            "gripper_width": (),
            "images.front": (tiny.SIDE, tiny.SIDE, 3),
            "images.wrist": (tiny.SIDE, tiny.SIDE, 3),
        }
        space = remote.spec.action_space
        assert (space.kind, space.names) == ("ee_delta", ("x", "y", "z", "gripper"))
        np.testing.assert_allclose([space.low, space.high], [[-0.01] * 3 + [0], [0.01] * 3 + [0.08]], rtol=1e-6)
        assert (remote.spec.horizon, remote.spec.step_s, remote.spec.deterministic) == (6, 0.05, True)

    def test_the_chunk_is_lerobots_own(self, remote, observations, folder):
        """As lerobot itself computes it: processors and `predict_action_chunk`, nothing recorded or played back."""
        tiny.shrink()
        policy = load(folder / self.kind)
        noise = noise_for(remote.spec, 1)
        policy._model = Plain(policy._model)
        np.testing.assert_allclose(
            remote.decode(remote.encode(observations[:1]), noise),
            policy.decode(policy.encode(observations[:1]), noise),
            atol=1e-6,
        )


class Plain:
    """A policy asked by `predict_action_chunk` alone."""

    from_features = False

    def __init__(self, model):
        self.noise_shape, self.policy = model.noise_shape, model._policy

    def encode(self, batch):
        return torch.zeros(1, 1), [batch]

    def decode(self, features, seen, noise):
        self.policy.reset()
        past, batch = getattr(self.policy.config, "n_obs_steps", 1), dict(seen[0])
        if past > 1:
            batch = {key: torch.stack([value] * past, 1) for key, value in batch.items()}
        return self.policy.predict_action_chunk(batch, noise=noise)


class TestDiffusion(Served):
    __test__ = True
    kind = "diffusion"


class TestPi0(Served):
    __test__ = True
    kind = "pi0"


class TestPi05(Served):
    __test__ = True
    kind = "pi05"


class TestSmolVLA(Served):
    __test__ = True
    kind = "smolvla"


@pytest.fixture(scope="module")
def act(folder):
    return tiny.build("act", folder)


def with_settings(path, **more):
    file = path / "robot_rl.json"
    file.write_text(json.dumps({**tiny.SETTINGS, **more}))
    return path


def test_a_policy_without_noise_is_refused_unless_asked_for(act):
    with pytest.raises(ConfigError, match=r"act takes no noise.*\"noise\": false"):
        load(with_settings(act))
    policy = load(with_settings(act, noise=False))
    assert (policy.spec.noise_shape, policy.spec.horizon, policy.spec.deterministic) == ((), 6, True)
    chunks = policy.decode(policy.encode(seen(policy.spec)), np.zeros((3,), np.float32))
    assert chunks.shape == (3, 6, 4)
    with pytest.raises(SpecMismatch, match="encoded"):
        policy.decode(Context(np.zeros((1, 8), np.float32)), np.zeros((1,), np.float32))


def test_a_real_policy_that_drops_its_noise_is_refused(folder, monkeypatch):
    path = tiny.build("diffusion", folder / "dropping")
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionModel

    own = DiffusionModel.conditional_sample
    monkeypatch.setattr(
        DiffusionModel, "conditional_sample", lambda self, size, global_cond, noise: own(self, size, global_cond)
    )
    with pytest.raises(ConfigError, match="accepts noise and ignores it"):
        load(path)


def test_weights_that_lerobot_did_not_load_are_found(folder):
    """What lerobot's pi0 answers such a file with is a line of print and random weights."""
    tiny.shrink()
    path = tiny.build("pi0", folder / "broken")
    (path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(ConfigError, match="did not load"):
        load(path)


if __name__ == "__main__":
    import importlib.metadata as installed

    print(", ".join(f"{name} {installed.version(name)}" for name in ("lerobot", "torch", "transformers", "diffusers")))
    sys.exit(
        pytest.main(
            [
                __file__,
                "-v",
                *sys.argv[1:],
                "-p",
                "no:cacheprovider",
                "--noconftest",
                "-c",
                os.devnull,
                "--rootdir",
                str(HERE),
            ]
        )
    )
