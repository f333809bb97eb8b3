"""`robot-rl run --from`: what a run begins with, that its accounts are its own, and what is refused before that."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from robot_rl.adapters.acting import SteeringAdapter
from robot_rl.adapters.files import numbers, read_weights
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.clock import wall_time_ns
from robot_rl.compositions.adapter_source import LAG, LockstepAdapters, NewestAdapters, Versions
from robot_rl.compositions.housekeeping import verify_run
from robot_rl.compositions.plan import new_run, open_run
from robot_rl.compositions.rerun import read_steps, rerun
from robot_rl.compositions.running import RunRequest, plan_run, run_task
from robot_rl.errors import ConfigError, IntegrityError, RobotRLError, SpecMismatch, StoreError
from robot_rl.learn.checkpoint import KEPT
from robot_rl.learn.learner import Learner
from robot_rl.learn.process import LearnerService
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, read_manifest
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.task_files import TASKS_DIR, load_task
from robot_rl.types import ActionSpace, Array, Label, LabelValue, RobotSpec, Transition
from sim_twin.lid_opening import LidOpeningTwin
from tests.small_task import write_small_task

EPISODES, CHUNKS, UTD = 4, 3, 2
QUIET = Console(file=io.StringIO())


def record(path: Path, count: int) -> None:
    """`count` more episodes of random chunks, every second one a success; the learner takes them in."""
    run, info, task, policy = open_run(path)
    size = SteeringLayout(policy.spec, task.method(info.method)).size
    store = Store(run)
    for episode in range(len(run.closed_episodes()) + 1, len(run.closed_episodes()) + 1 + count):
        rng = np.random.default_rng([episode, len(run.path.name)])

        def floats(*shape: int, rng: np.random.Generator = rng) -> Array:
            return rng.standard_normal(shape).astype(np.float32)

        spec = policy.spec
        store.begin(
            EpisodeHeader(episode, info.task, info.method, spec.policy_id, spec.hash, 0, info.seed, wall_time_ns(), "0")
        )
        for index in range(CHUNKS):
            transition = Transition(
                episode=episode, index=index, features=floats(spec.features), next_features=floats(spec.features),
                noise=floats(*spec.noise_shape), steer=floats(size), base_chunk=0.01 * floats(spec.horizon, 4),
                executed_chunk=0.01 * floats(spec.horizon, 4), k_executed=8, discount=0.97,
                terminal=index == CHUNKS - 1, truncated=False,
            )  # fmt: skip
            store.write_transition(transition)
        store.end(EpisodeOutcome("success", 24, True, False, True, {"pass": 24}))
        value = LabelValue.SUCCESS if episode % 2 else LabelValue.FAILURE
        store.add_label(Label(f"label-{episode}", episode, value, "test"))
    store.close()


def learn(path: Path) -> LearnerService:
    """Bring the run's learner up to what is recorded; it is closed already."""
    run = RunDirectory.open(path)
    service = LearnerService(run, load_task(run.task_yaml), ordered=True)
    try:
        while service.step():
            pass
    finally:
        service.close()
    return service


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learnt: two episodes of warm-up and two more."""
    folder = tmp_path_factory.mktemp("source")
    new_run(folder / "run", str(write_small_task(folder)), "usr", 0, {})
    record(folder / "run", EPISODES)
    learn(folder / "run")
    return folder / "run"


def begin(source: Path, out: Path, **asked: Any) -> RunDirectory:
    """A run from `source`, begun and not yet moved."""
    request = RunRequest(**{"begin_from": source, "out": out, "label": "auto", **asked})
    run_task(request, QUIET, compose=lambda plan, watch, announce: None)
    return RunDirectory.open(out)


@pytest.fixture
def run(source: Path, tmp_path: Path) -> RunDirectory:
    return begin(source, tmp_path / "run", world="real", seed=5)


def weights(folder: Path, version: int) -> dict[str, Array]:
    return read_weights(folder, version)[0]


def same(first: dict[str, Array], second: dict[str, Array]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


# --- what it begins with --------------------------------------------------------------------------------------------


def test_a_run_says_what_it_was_begun_from(source: Path, run: RunDirectory) -> None:
    info = run.read_info()
    assert (info.task, info.method, info.seed, info.world, info.began_with) == ("small", "usr", 5, "real", EPISODES)
    _, manifest = read_weights(source / "adapters", EPISODES)
    assert info.arguments["from"] == {
        "run": str(source), "task": "small", "world": "twin", "seed": 0, "version": EPISODES,
        "adapter_sha256": manifest["sha256"], "updates": manifest["updates"], "chunks": EPISODES * CHUNKS,
    }  # fmt: skip
    assert verify_run(run.path, QUIET)


def test_its_adapter_acts_from_the_first_episode_on_until_there_is_one_of_its_own(
    source: Path, run: RunDirectory
) -> None:
    spec = open_run(run.path)[3].spec
    versions = Versions(run, spec, load_task(run.task_yaml).method("usr"))
    for adapter in (LockstepAdapters(versions).next(1), NewestAdapters(versions).next(1)):
        assert isinstance(adapter, SteeringAdapter)
        assert (adapter.version, adapter.gate) == (EPISODES, 1.0)
    assert same(weights(run.adapters, EPISODES), weights(source / "adapters", EPISODES))
    record(run.path, 1 + LAG)
    learn(run.path)
    adapter = LockstepAdapters(versions).next(2 + LAG)
    assert adapter is not None
    assert adapter.version == EPISODES + 1


def test_learning_goes_on_where_it_was_and_its_accounts_are_its_own(source: Path, run: RunDirectory) -> None:
    before = weights(source / "checkpoints", EPISODES)
    learner = learn(run.path).learner
    assert (learner.version, learner.chunks, learner.updates, learner.owed) == (EPISODES, 0, 0, 0)
    assert not learner.warming_up
    assert learner.replay.sampleable == EPISODES * CHUNKS  # the older data
    assert same(learner.state()[0], before)
    record(run.path, 2)
    learner = learn(run.path).learner
    assert (learner.version, learner.chunks, learner.updates) == (EPISODES + 2, 2 * CHUNKS, 2 * CHUNKS * UTD)
    assert learner.replay.sampleable == (EPISODES + 2) * CHUNKS
    status = json.loads(run.learner_json.read_text())
    assert (status["chunks"], status["updates"], status["utd_reached"]) == (2 * CHUNKS, 2 * CHUNKS * UTD, UTD)
    _, manifest = read_weights(run.adapters, EPISODES + 2)
    assert (manifest["through_episode"], manifest["chunks"], manifest["label_watermark"]) == (2, 2 * CHUNKS, 2)
    assert verify_run(run.path, QUIET)


def test_a_restart_changes_no_bit(run: RunDirectory, tmp_path: Path) -> None:
    other = RunDirectory(shutil.copytree(run.path, tmp_path / "run2"))
    record(run.path, 2)
    for number in (1, 2):
        shutil.copytree(run.episode(number), other.episode(number))
    shutil.copyfile(run.labels, other.labels)
    learn(run.path)
    service = LearnerService(other, load_task(other.task_yaml), ordered=True)
    service.step()
    service.close()
    learn(other.path)
    assert numbers(run.adapters) == numbers(other.adapters) == [EPISODES, EPISODES + 1, EPISODES + 2]
    assert same(weights(run.checkpoints, EPISODES + 2), weights(other.checkpoints, EPISODES + 2))


def test_a_run_from_a_run_that_was_begun_from_one_has_the_episodes_of_both(run: RunDirectory, tmp_path: Path) -> None:
    record(run.path, 1)
    learn(run.path)
    third = begin(run.path, tmp_path / "third")
    assert third.read_info().began_with == EPISODES + 1
    assert third.read_info().world == "twin"
    assert third.predecessor.closed_episodes() == [1, 2, 3, 4, 5]
    assert learn(third.path).learner.replay.sampleable == (EPISODES + 1) * CHUNKS


def test_where_learning_diverges_at_once_what_it_was_begun_with_goes_on_acting(
    source: Path, run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run that is begun from that one learns again."""
    done = Learner.learn

    def spoil(learner: Learner, updates: int | None = None) -> int:
        count = done(learner, updates)
        learner.losses["td_loss"] = float("nan")
        return count

    monkeypatch.setattr(Learner, "learn", spoil)
    record(run.path, 2)
    learn(run.path)
    monkeypatch.undo()
    spec, newest = open_run(run.path)[3].spec, EPISODES + 2
    adapter = NewestAdapters(Versions(run, spec, load_task(run.task_yaml).method("usr"))).next(3)
    assert isinstance(adapter, SteeringAdapter)
    assert (adapter.version, adapter.gate) == (newest, 1.0)
    assert same(weights(run.adapters, newest), weights(source / "adapters", EPISODES))
    assert "td_loss is nan" in read_weights(run.adapters, newest)[1]["diverged"]
    third = begin(run.path, tmp_path / "third")
    assert "diverged" not in read_weights(third.adapters, newest)[1]
    record(third.path, 1)
    learner = learn(third.path).learner
    assert (learner.updates, learner.stopped) == (CHUNKS * UTD, {})


def test_settings_that_only_say_how_to_learn_may_be_others(source: Path, tmp_path: Path) -> None:
    path = write_small_task(tmp_path)
    raw = yaml.safe_load(path.read_text())
    raw["name"], raw["methods"]["usr"]["utd"] = "cell_7", 5.0
    path.write_text(yaml.safe_dump(raw))
    run = begin(source, tmp_path / "run", task=str(path))
    record(run.path, 1)
    assert (run.read_info().task, learn(run.path).learner.updates) == ("cell_7", 5 * CHUNKS)


# --- what can be lost of it -----------------------------------------------------------------------------------------


def test_what_it_was_begun_with_stays_and_is_gone_back_to(run: RunDirectory) -> None:
    record(run.path, KEPT + 2)
    learn(run.path)
    kept = numbers(run.checkpoints)
    assert kept == [EPISODES, *range(EPISODES + 3, EPISODES + KEPT + 3)]
    for version in kept[1:]:
        path = run.checkpoints / f"{version:06d}.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    service = LearnerService(run, load_task(run.task_yaml), ordered=True)
    service.close()
    assert (service.learner.version, service.learner.updates) == (EPISODES, 0)


@pytest.mark.parametrize("lost", ["checkpoints", "predecessor"])
def test_without_what_it_was_begun_with_it_does_not_go_on_from_nothing(run: RunDirectory, lost: str) -> None:
    shutil.rmtree(run.path / lost)
    (run.path / "checkpoints").mkdir(exist_ok=True)
    with pytest.raises(IntegrityError, match="has lost"):
        plan_run(RunRequest(resume=run.path), QUIET)
    with pytest.raises(StoreError, match=r"begin a new run from that one|is not a run"):
        LearnerService(run, load_task(run.task_yaml), ordered=True)
    assert not verify_run(run.path, QUIET)


def test_a_damaged_adapter_is_written_again_from_its_checkpoint(source: Path, run: RunDirectory) -> None:
    path = run.adapters / f"{EPISODES:06d}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    learn(run.path)
    assert same(weights(run.adapters, EPISODES), weights(source / "adapters", EPISODES))


def test_damage_to_what_was_taken_over_is_found_and_costs_that_episode(run: RunDirectory) -> None:
    folder = run.predecessor.episode(2)
    (folder / "transitions.packed").unlink(missing_ok=True)
    recording = folder / "episode.mcap"
    recording.write_bytes(recording.read_bytes()[:-100])
    said = io.StringIO()
    assert not verify_run(run.path, Console(file=said, width=200))
    assert "predecessor/episode 2" in said.getvalue()
    assert learn(run.path).learner.replay.sampleable == (EPISODES - 1) * CHUNKS


# --- what is refused before anything is made ------------------------------------------------------------------------


def another(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """A small task that `change` was made to."""
    path = write_small_task(folder)
    raw = yaml.safe_load(path.read_text())
    change(raw)
    path.write_text(yaml.safe_dump(raw))
    return str(path)


def noise(raw: dict[str, Any]) -> None:
    raw["methods"]["usr"]["noise_layout"] = "full"


def networks(raw: dict[str, Any]) -> None:
    raw["methods"]["usr"]["hidden"] = 16


def policy(raw: dict[str, Any]) -> None:
    raw["policy"]["checkpoint"] = str(TASKS_DIR / "lid_opening_strict.safetensors")


class WideTwin(LidOpeningTwin):
    """A robot that takes larger steps."""

    @property
    def spec(self) -> RobotSpec:
        usual = super().spec
        space: ActionSpace = replace(usual.action_space, high=(0.02, *usual.action_space.high[1:]))
        return replace(usual, action_space=space)


def robot(raw: dict[str, Any]) -> None:
    raw["twin"] = f"{__name__}:WideTwin"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (noise, r"task small .* another layout .* task small wants: noise_layout repeat there, full here"),
        (networks, "hidden 32 there, 16 here"),
        (policy, r"was trained on policy (\S+) \(spec \w+\), this run has (?!\1)\S+ \(spec \w+\)"),
        (
            robot,
            r"action space ee_delta of policy \S+ \(spec \w+\), the robot of task small in another: high .*0\.02,",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_both_named(
    source: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    with pytest.raises(SpecMismatch, match=f"{re.escape(str(source))}.*{reason}"):
        begin(source, tmp_path / "run", task=another(tmp_path, change))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "kind", "reason"),
    [
        ({"method": "lp-ds"}, SpecMismatch, "adapter is one of usr, this run's method is lp-ds; leave out --method"),
        ({"world": "reel"}, ConfigError, "'reel'.*did you mean 'real'"),
        ({"begin_from": Path("nowhere")}, StoreError, "nowhere is not a run"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    source: Path, tmp_path: Path, asked: dict[str, Any], kind: type[RobotRLError], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        begin(source, tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()


def test_a_run_that_has_learnt_nothing_has_nothing_to_give(tmp_path: Path) -> None:
    new_run(tmp_path / "young", str(write_small_task(tmp_path)), "usr", 0, {})
    for _ in range(2):  # before its first episode, and after one of its warm-up
        with pytest.raises(StoreError, match="has learnt nothing that could be taken over"):
            begin(tmp_path / "young", tmp_path / "run")
        record(tmp_path / "young", 1)
        learn(tmp_path / "young")


def test_a_resumed_run_keeps_its_world_and_where_it_is_from(source: Path, run: RunDirectory) -> None:
    with pytest.raises(ConfigError, match=r"world 'twin': .* was begun with 'real'"):
        plan_run(RunRequest(resume=run.path, world="twin"), QUIET)
    with pytest.raises(ConfigError, match=r"--from .*leave out --resume"):
        plan_run(RunRequest(resume=run.path, begin_from=source), QUIET)
    assert plan_run(RunRequest(resume=run.path, world="real"), QUIET).info == run.read_info()


# --- from beginning to end ------------------------------------------------------------------------------------------


def test_a_run_in_world_real_is_resumed_there(source: Path, tmp_path: Path) -> None:
    """Real twin, real policy, the learner in its process."""
    run_task(RunRequest(begin_from=source, world="real", episodes=1, out=tmp_path / "there"), QUIET)
    run_task(RunRequest(resume=tmp_path / "there", episodes=2), QUIET)
    run, info, config, _ = open_run(tmp_path / "there")
    assert run.closed_episodes() == [1, 2]
    headers = [read_manifest(run.episode(number)).header for number in (1, 2)]
    assert [header.adapter_version for header in headers] == [EPISODES, EPISODES]
    assert numbers(run.adapters) == [EPISODES, EPISODES + 1, EPISODES + 2]
    status = json.loads(run.learner_json.read_text())
    assert (status["version"], status["updates"]) == (EPISODES + 2, UTD * status["chunks"])
    assert (run.results / "curve.png").exists()
    assert verify_run(run.path, QUIET)
    steps = read_steps(run.episode(1))
    assert rerun(config, headers[0], steps, info.world).departs is None
    assert rerun(config, headers[0], steps, "twin").departs is not None
