import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import BadAction, IntegrityError, SpecMismatch
from robot_rl.policy.cloning import CloneReport
from robot_rl.policy.flow import FlowPolicy, gelu
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Array, Context, Observation
from tests.policy.conftest import EAR, SPACE, observe

HOME = np.array([0.30, 0.0, 0.20])


@pytest.fixture
def checkpoint(cloned: CloneReport, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(Path(cloned.path).with_suffix(suffix), tmp_path / f"flow{suffix}")
    return tmp_path / "flow.safetensors"


class TestFlowPolicy(FrozenPolicyConformance):
    @pytest.fixture
    def policy(self, policy: FlowPolicy) -> FlowPolicy:
        return policy

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        rng = np.random.default_rng(3)
        bins = rng.uniform([0.45, -0.12, 0.0, -0.25], [0.62, 0.12, 0.0, 0.25], (4, 4))
        return [observe(HOME + rng.normal(0, 0.01, 3), bin_pose) for bin_pose in bins]


def normal(batch: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((batch, 8, 4)).astype(np.float32)


def at_home(policy: FlowPolicy, batch: int) -> Context:
    """`batch` times the same state: the gripper at home, the bin straight ahead."""
    one = policy.encode([observe(HOME, np.array([0.53, 0.0, 0.0, 0.0]))])
    assert one.z is not None
    return Context(np.repeat(one.features, batch, axis=0), np.repeat(one.z, batch, axis=0))


@pytest.mark.parametrize("through_bottleneck", [False, True])
def test_noise_chooses_between_both_ears(policy: FlowPolicy, through_bottleneck: bool) -> None:
    bins = np.random.default_rng(4).uniform([0.45, -0.05, 0.0, -0.1], [0.62, 0.05, 0.0, 0.1], (32, 4))
    context = policy.encode([observe(HOME, bin_pose) for bin_pose in np.repeat(bins, 32, axis=0)])
    chunks = policy.decode(context, normal(1024), context.z if through_bottleneck else None)
    across = (HOME[1] + chunks[:, :, 1].sum(axis=1)).reshape(32, 32) - bins[:, 1:2]  # from the bin's middle
    assert min(np.mean(across > EAR / 2), np.mean(across < -EAR / 2)) > 0.15
    assert np.mean(np.abs(across) < EAR / 4) < 0.15


def test_a_chunk_moves_smoothly_with_its_noise(policy: FlowPolicy) -> None:
    one, other = normal(2, seed=1)
    angle = np.linspace(0, np.pi / 2, 201, dtype=np.float32)[:, None, None]
    chunks = policy.decode(at_home(policy, 201), np.cos(angle) * one + np.sin(angle) * other)
    assert np.abs(np.diff(chunks[..., :3], axis=0)).max() < 1e-3


def test_chunks_stay_in_the_action_space_whatever_the_noise(policy: FlowPolicy) -> None:
    chunks = policy.decode(at_home(policy, 8), 100 * normal(8))
    low, high = np.asarray(SPACE.low, np.float32), np.asarray(SPACE.high, np.float32)
    assert (chunks >= low - 1e-7).all()
    assert (chunks <= high + 1e-7).all()


def test_the_same_observation_has_the_same_z_and_another_one_another(policy: FlowPolicy) -> None:
    here, there = observe(HOME, np.array([0.53, 0.0, 0.0, 0.0])), observe(HOME, np.array([0.53, 0.001, 0.0, 0.0]))
    z = policy.encode([here, there, here]).z
    assert z is not None
    np.testing.assert_array_equal(z[0], z[2])
    assert not np.allclose(z[0], z[1], atol=1e-3)


def test_z_is_sampled_and_not_the_mean(policy: FlowPolicy) -> None:
    observations = [observe(HOME, np.array([0.53, 1e-7 * i, 0.0, 0.0])) for i in range(64)]
    z = policy.encode(observations).z
    assert z is not None
    assert z.std(axis=0).max() > 0.1


def test_features_have_about_unit_spread(policy: FlowPolicy) -> None:
    assert np.abs(at_home(policy, 1).features).max() < 6


@pytest.mark.parametrize(("noise", "latent"), [((2, 8, 3), (2, 16)), ((3, 8, 4), (2, 16)), ((2, 8, 4), (2, 15))])
def test_a_wrong_shape_is_refused(policy: FlowPolicy, noise: tuple[int, ...], latent: tuple[int, ...]) -> None:
    with pytest.raises(SpecMismatch, match=r"expected (noise|latent) of shape"):
        policy.decode(at_home(policy, 2), np.zeros(noise, np.float32), np.zeros(latent, np.float32))


def test_noise_that_is_not_finite_is_refused(policy: FlowPolicy) -> None:
    with pytest.raises(BadAction, match="finite noise"):
        policy.decode(at_home(policy, 1), np.full((1, 8, 4), np.nan, np.float32))


def test_a_flipped_bit_is_noticed(checkpoint: Path) -> None:
    data = bytearray(checkpoint.read_bytes())
    data[-5] ^= 1
    checkpoint.write_bytes(data)
    with pytest.raises(IntegrityError, match="sha256"):
        FlowPolicy.load(checkpoint)


def test_a_checkpoint_without_its_manifest_is_refused(checkpoint: Path) -> None:
    checkpoint.with_suffix(".json").unlink()
    with pytest.raises(IntegrityError, match="manifest"):
        FlowPolicy.load(checkpoint)


@pytest.mark.parametrize("key", ["spec", "sha256", "ode_steps", "spec_hash"])
def test_a_manifest_that_lacks_a_key_is_refused(checkpoint: Path, key: str) -> None:
    path = checkpoint.with_suffix(".json")
    manifest = json.loads(path.read_text())
    del manifest[key]
    path.write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match=key):
        FlowPolicy.load(checkpoint)


def test_a_changed_spec_is_noticed(checkpoint: Path) -> None:
    path = checkpoint.with_suffix(".json")
    manifest = json.loads(path.read_text())
    manifest["spec"]["step_s"] = 0.1
    path.write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="expected a spec of hash"):
        FlowPolicy.load(checkpoint)


def test_gelu_is_the_gelu() -> None:
    x = np.array([-3.0, -1.0, 0.0, 1.0, 3.0], np.float32)
    np.testing.assert_allclose(gelu(x), [-0.00364, -0.15881, 0.0, 0.84119, 2.99636], atol=1e-5)
