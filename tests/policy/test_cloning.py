from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_rl.errors import ConfigError
from robot_rl.policy.cloning import CloneReport, clone
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.types import Context
from tests.policy.conftest import CONFIG, SPACE

SHORT = CONFIG.model_copy(update={"train_steps": 30, "bottleneck_steps": 20, "hidden": 32})


def test_the_report_says_what_was_made(cloned: CloneReport, demonstrations: Demonstrations) -> None:
    assert (cloned.demonstrations, cloned.windows) == (120, len(demonstrations.episode))
    policy = FlowPolicy.load(Path(cloned.path))
    assert policy.spec.policy_id == cloned.policy_id
    assert cloned.parameters == sum(array.size for array in policy.weights.values())
    assert cloned.bottleneck_loss is not None
    assert cloned.bottleneck_loss < 1.3 * cloned.loss
    assert cloned.kl is not None
    assert cloned.kl > 1.0


def test_the_clone_does_what_the_expert_did(policy: FlowPolicy, demonstrations: Demonstrations) -> None:
    raw, chunks = demonstrations.windows(8)
    late = np.flatnonzero(np.diff(demonstrations.episode, append=-1))[:60] - 12  # past the choice of an ear
    mean, scale = policy.weights["features.mean"], policy.weights["features.scale"]
    features = ((raw[late] - mean) / scale).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((len(late), 8, 4)).astype(np.float32)
    error = np.linalg.norm((policy.decode(Context(features), noise) - chunks[late])[..., :3].sum(axis=1), axis=1)
    assert np.median(error) < 0.02


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    demonstrations: Demonstrations, tmp_path: Path
) -> None:
    one = clone(demonstrations, SHORT, SPACE, tmp_path / "one.safetensors")
    again = clone(demonstrations, SHORT, SPACE, tmp_path / "again.safetensors")
    other = clone(demonstrations, SHORT.model_copy(update={"seed": 1}), SPACE, tmp_path / "other.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert one.policy_id == again.policy_id != other.policy_id


def test_cloning_leaves_torch_as_it_was(demonstrations: Demonstrations, tmp_path: Path) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    clone(demonstrations, SHORT, SPACE, tmp_path / "flow.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_bottleneck_leaves_the_flow_alone(demonstrations: Demonstrations, tmp_path: Path) -> None:
    """ZPRL: gradients of the bottleneck never reach the embedding or the velocity."""
    longer = SHORT.model_copy(update={"bottleneck_steps": 40})
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    clone(demonstrations, SHORT, SPACE, one)
    clone(demonstrations, longer, SPACE, other)
    short, long = FlowPolicy.load(one).weights, FlowPolicy.load(other).weights
    same = {name for name in short if np.array_equal(short[name], long[name])}
    assert {name.split(".")[0] for name in same} == {"features", "embed", "chunk"}
    assert all(name in same for name in short if name.split(".")[0] in ("embed", "chunk"))


def test_progress_is_told_of_both_stages_to_their_end(demonstrations: Demonstrations, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    clone(
        demonstrations,
        SHORT,
        SPACE,
        tmp_path / "flow.safetensors",
        lambda stage, step, steps, loss: told.append((stage, step, steps)),
    )
    assert told == [("flow", 30, 30), ("bottleneck", 20, 20)]


def test_a_feature_that_never_varies_is_not_blown_up(demonstrations: Demonstrations, tmp_path: Path) -> None:
    still = replace(demonstrations, gripper_width=np.full(len(demonstrations.episode), 0.02))
    report = clone(still, SHORT, SPACE, tmp_path / "flow.safetensors")
    assert FlowPolicy.load(Path(report.path)).weights["features.scale"].min() >= 5e-3


def test_an_action_space_of_another_size_is_refused(demonstrations: Demonstrations, tmp_path: Path) -> None:
    narrow = replace(SPACE, names=SPACE.names[:3])
    with pytest.raises(ConfigError, match="3 actions, got 4"):
        clone(demonstrations, SHORT, narrow, tmp_path / "flow.safetensors")
