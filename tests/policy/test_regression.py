"""A plain regression: a clone without noise, for the methods that need none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_rl.adapters.layout import SteeringLayout
from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.control.actor import Actor
from robot_rl.errors import BadAction, SpecMismatch
from robot_rl.policy.cloning import CloneReport, clone
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.policy.remote import RemotePolicy
from robot_rl.policy.torch_flow import TorchFlow
from robot_rl.store.training import labelled_episodes
from robot_rl.task_files import load_task
from robot_rl.testing.policy import FrozenPolicyConformance
from robot_rl.types import Context, Observation
from tests.policy.conftest import CONFIG, SPACE, observe
from tests.serve.served import served
from tests.small_task import write_small_task

REGRESSION = CONFIG.model_copy(update={"kind": "mlp", "train_steps": 400})


@pytest.fixture(scope="module")
def report(demonstrations: Demonstrations, tmp_path_factory: pytest.TempPathFactory) -> CloneReport:
    return clone(demonstrations, REGRESSION, SPACE, tmp_path_factory.mktemp("mlp") / "mlp.safetensors")


@pytest.fixture(scope="module")
def regression(report: CloneReport) -> FlowPolicy:
    return FlowPolicy.load(Path(report.path))


class TestRegression(FrozenPolicyConformance):
    @pytest.fixture
    def policy(self, regression: FlowPolicy) -> FlowPolicy:
        return regression

    @pytest.fixture
    def observations(self) -> Sequence[Observation]:
        rng = np.random.default_rng(3)
        bins = rng.uniform([0.45, -0.12, 0.0, -0.25], [0.62, 0.12, 0.0, 0.25], (4, 4))
        return [observe(np.array([0.30, 0.0, 0.20]) + rng.normal(0, 0.01, 3), bin_pose) for bin_pose in bins]


class TestServedRegression(TestRegression):
    @pytest.fixture
    def policy(self, regression: FlowPolicy) -> Iterator[RemotePolicy]:  # type: ignore[override]
        yield from served(regression)


def test_it_has_neither_noise_nor_bottleneck_and_says_so(report: CloneReport, regression: FlowPolicy) -> None:
    assert (report.bottleneck_loss, report.kl) == (None, None)
    assert regression.spec.policy_id == report.policy_id
    assert report.policy_id.startswith("mlp-")
    assert (regression.spec.noise_shape, regression.spec.latent) == ((), None)
    context = regression.encode([observe(np.zeros(3), np.zeros(4))])
    with pytest.raises(SpecMismatch, match="latent"):
        regression.decode(context, np.zeros(1, np.float32), np.zeros((1, 16), np.float32))
    with pytest.raises(SpecMismatch, match="takes no noise"):
        SteeringLayout(regression.spec, load_task("lid_opening").method("dsrl-na"))


def test_it_does_what_the_expert_did_where_there_is_one_way(
    regression: FlowPolicy, demonstrations: Demonstrations
) -> None:
    raw, chunks = demonstrations.windows(8)
    late = np.flatnonzero(np.diff(demonstrations.episode, append=-1))[:60] - 12  # past the choice of an ear
    features = ((raw[late] - regression.weights["features.mean"]) / regression.weights["features.scale"]).astype("f4")
    made = regression.decode(Context(features), np.zeros(len(late), np.float32))
    error = np.linalg.norm((made - chunks[late])[..., :3].sum(axis=1), axis=1)
    assert np.median(error) < 0.02


def test_torch_decodes_the_same(regression: FlowPolicy) -> None:
    features = np.random.default_rng(0).standard_normal((5, regression.spec.features)).astype(np.float32)
    made = TorchFlow.from_policy(regression).decode(torch.from_numpy(features), torch.zeros(5))
    np.testing.assert_allclose(made, regression.decode(Context(features), np.zeros(5, np.float32)), atol=1e-6)


def test_a_number_that_is_not_finite_is_refused(regression: FlowPolicy) -> None:
    features = np.full((1, regression.spec.features), np.nan, np.float32)
    with pytest.raises(BadAction, match="finite features"):
        regression.decode(Context(features), np.zeros(1, np.float32))


@pytest.mark.timeout(60)
def test_policy_decorator_learns_on_it(report: CloneReport, tmp_path: Path) -> None:
    policy = {"checkpoint": report.path, "kind": "mlp", "horizon": REGRESSION.horizon}
    task = write_small_task(tmp_path, policy=policy)
    new_run(tmp_path / "run", str(task), "policy-decorator", 0, {})
    run, info, config, frozen = open_run(tmp_path / "run")

    def watch(actor: Actor) -> None: ...

    run_lockstep(RunPlan(run, info, config, frozen, 3, auto_label=True, console_port=None), watch, print)
    assert len(labelled_episodes(run)) == 3
    versions = sorted(run.adapters.glob("*.safetensors"))
    assert versions, "the learner has published what it made of them"
