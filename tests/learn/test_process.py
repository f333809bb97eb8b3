"""The learner on a run's directory: real store, real labels, a real (tiny) flow policy, and its own process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from robot_rl.adapters.acting import BaseAdapter, SteeringAdapter, load_adapter
from robot_rl.adapters.files import numbers, read_weights
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.compositions.run_files import check_weights
from robot_rl.config import MethodConfig, PolicyConfig
from robot_rl.errors import DiskError, IntegrityError
from robot_rl.learn import columns
from robot_rl.learn import process as process_module
from robot_rl.learn.learner import Learner
from robot_rl.learn.process import LearnerService
from robot_rl.learn.replay import Batch
from robot_rl.policy.cloning import clone
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.store.compute import write_compute
from robot_rl.store.episode import EndedBy, EpisodeHeader, EpisodeOutcome, EpisodeWriter, read_transitions
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.task_files import TASKS_DIR, load_task
from robot_rl.types import ActionSpace, Array, Label, LabelValue, Transition
from tests.faults.disk import Disk, failing

WARMUP = 2
CHUNKS = 3
UTD = 2
METHOD = MethodConfig(warmup_episodes=WARMUP, hidden=16, batch=32, utd=UTD, pool=3)
SPACE = ActionSpace(
    "ee_delta", ("dx", "dy", "dz", "gripper"), ("m",) * 4, (-0.012, -0.012, -0.012, 0.0), (0.012, 0.012, 0.012, 0.08)
)
POLICY = PolicyConfig(
    checkpoint="flow.safetensors", hidden=8, layers=1, embedding=4, latent=2, train_steps=2, bottleneck_steps=2, batch=8
)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that has hardly seen its demonstrations: what it does is of no matter here."""
    rng = np.random.default_rng(0)
    steps = 40
    demonstrations = Demonstrations(
        np.concatenate([rng.normal(0.5, 0.1, (steps, 3)), np.tile([1.0, 0, 0, 0], (steps, 1))], 1),
        rng.uniform(0, 0.08, steps),
        rng.normal(0.5, 0.1, (steps, 4)),
        np.concatenate([rng.uniform(-0.01, 0.01, (steps, 3)), np.full((steps, 1), 0.04)], 1),
        np.repeat(np.arange(4), steps // 4),
    )
    path = tmp_path_factory.mktemp("policy") / "flow.safetensors"
    clone(demonstrations, POLICY, SPACE, path)
    return path


def make_run(path: Path, policy: Path, method: str = "usr", **settings: Any) -> RunDirectory:
    """`settings` replace some of the method's."""
    task = yaml.safe_load((TASKS_DIR / "lid_opening.yaml").read_text())
    common = METHOD.model_dump(mode="json", exclude_unset=True, exclude=set() if method == "usr" else {"pool"})
    task["methods"] = {method: common | settings}
    task["compute"] = {"matmul": "default"}  # a measurement could choose otherwise for another run
    spec = FlowPolicy.load(policy).spec
    run = RunDirectory.create(path, RunInfo("lid_opening", method, 3, spec.hash, "0.1.0"))
    run.task_yaml.write_text(yaml.safe_dump(task))
    run.policy.write_bytes(policy.read_bytes())
    run.policy.with_suffix(".json").write_bytes(policy.with_suffix(".json").read_bytes())
    return run


def record(run: RunDirectory, episode: int, *, ended_by: EndedBy = "failure", **damage: Any) -> None:
    """One closed episode of random chunks; `damage` replaces fields of its last one."""
    spec = FlowPolicy.load(run.policy).spec
    rng, size = np.random.default_rng(episode), SteeringLayout(spec, METHOD).size

    def floats(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    header = EpisodeHeader(episode, "lid_opening", "usr", spec.policy_id, spec.hash, 0, 3, 0, "0.1.0")
    writer = EpisodeWriter(run, header)
    for index in range(CHUNKS):
        last = index == CHUNKS - 1
        transition = Transition(
            episode=episode, index=index, features=floats(spec.features), next_features=floats(spec.features),
            noise=floats(*spec.noise_shape), steer=floats(size), base_chunk=0.01 * floats(spec.horizon, 4),
            executed_chunk=0.01 * floats(spec.horizon, 4), k_executed=8, discount=0.97, terminal=last, truncated=False,
        )  # fmt: skip
        writer.write_transition(replace(transition, **damage) if last else transition)
    writer.close(EpisodeOutcome(ended_by, CHUNKS * 8, True, False, ended_by != "aborted", {"pass": CHUNKS * 8}))


def label(run: RunDirectory, episode: int, value: LabelValue | None = None) -> None:
    """By default success for odd episodes, failure for even ones."""
    value = value or (LabelValue.SUCCESS if episode % 2 else LabelValue.FAILURE)
    log = LabelLog(run.labels)
    log.add(Label(f"{episode}-{time.monotonic_ns()}", episode, value, "test"))
    log.close()


@contextmanager
def service(run: RunDirectory, *, ordered: bool = True) -> Iterator[LearnerService]:
    made = LearnerService(run, load_task(run.task_yaml), ordered=ordered)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def run(tmp_path: Path, policy: Path) -> RunDirectory:
    return make_run(tmp_path / "run", policy)


def fill(run: RunDirectory, last: int, first: int = 1) -> None:
    for episode in range(first, last + 1):
        record(run, episode)
        label(run, episode)


def copy(run: RunDirectory, path: Path) -> RunDirectory:
    return RunDirectory.open(shutil.copytree(run.path, path))


def weights(run: RunDirectory, version: int) -> dict[str, Array]:
    return read_weights(run.adapters, version)[0]


def same(first: dict[str, Array], second: dict[str, Array]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def status(run: RunDirectory) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(run.learner_json.read_bytes())
    return loaded


def test_in_order_every_labelled_episode_makes_a_version(run: RunDirectory) -> None:
    fill(run, 4)
    with service(run) as learner:
        assert [learner.step() for _ in range(5)] == [True] * 4 + [False]
    assert numbers(run.adapters) == [1, 2, 3, 4]
    spec = FlowPolicy.load(run.policy).spec
    assert isinstance(load_adapter(run.adapters, 1, spec), BaseAdapter)
    assert isinstance(load_adapter(run.adapters, 3, spec), SteeringAdapter)
    manifest = read_weights(run.adapters, 4)[1]
    assert (manifest["through_episode"], manifest["updates"], manifest["label_watermark"]) == (4, 4 * CHUNKS * UTD, 4)
    assert status(run)["utd_reached"] == UTD == status(run)["utd_wanted"]
    assert status(run)["version"] == 4


def test_the_status_says_why_the_utd_is_what_it_is(run: RunDirectory) -> None:
    fill(run, 4)
    with service(run) as learner:
        assert status(run)["updates_per_second"] is None
        learner.step()
        assert status(run)["utd_reason"] == f"warm-up: 1 of {WARMUP} episodes taken in, nothing is learnt before them"
        said: list[str] = []
        report = learner._report

        def listen(running_s: float = 0.0) -> None:
            report(running_s)
            said.append(status(run)["utd_reason"])

        learner._report = listen  # type: ignore[method-assign]
        stopping = threading.Event()
        stopping.set()
        learner.step()
        assert said[0] == f"{CHUNKS * UTD * WARMUP} updates are owed and have begun", "it is past the warm-up at once"
        assert status(run)["utd_reason"] == said[-1] == "waiting for episodes: all owed updates are done"
        assert status(run)["updates_per_second"] > 0
        learner.step(stopping)  # episode 3 is taken and not worked off; 4 waits
        learner._report()
        owed = CHUNKS * UTD
        assert f"ms each and {owed} are owed, while 1 labelled episode waits: the robot is faster" in said[-1]
        learner.learner.learn(owed)
        learner.step(stopping)
        learner._report()
        assert f"ms each and {owed} are owed: the newest episodes are being worked off" in said[-1]


def test_without_an_episode_to_learn_from_the_status_says_so(run: RunDirectory) -> None:
    for episode in range(1, WARMUP + 1):
        record(run, episode, features=np.full(FlowPolicy.load(run.policy).spec.features, np.nan, np.float32))
        label(run, episode)
    with service(run, ordered=False) as learner:
        learner.step()
    assert "none of those so far can be learnt from" in status(run)["utd_reason"]


def test_otherwise_what_is_there_is_taken_together(run: RunDirectory) -> None:
    fill(run, 4)
    with service(run, ordered=False) as learner:
        assert [learner.step(), learner.step()] == [True, False]
    assert numbers(run.adapters) == [4]
    assert load_adapter(run.adapters, 4, FlowPolicy.load(run.policy).spec).version == 4


def test_unlabelled_discarded_and_faulty_episodes_are_left_out(run: RunDirectory) -> None:
    fill(run, 2)
    record(run, 3)
    record(run, 4)
    label(run, 4, LabelValue.DISCARD)
    record(run, 5, ended_by="fault")
    label(run, 5)
    with service(run, ordered=False) as learner:
        learner.step()
        assert learner.learner.consumed == [1, 2]


def test_a_second_life_makes_the_bits_that_one_life_makes(tmp_path: Path, policy: Path) -> None:
    whole, broken = (make_run(tmp_path / name, policy) for name in ("whole", "broken"))
    for run in (whole, broken):
        fill(run, 5)
    with service(whole) as learner:
        while learner.step():
            pass
    with service(broken) as learner:
        for _ in range(3):
            learner.step()
    with service(broken) as learner:
        while learner.step():
            pass
    assert all(same(weights(whole, version), weights(broken, version)) for version in range(1, 6))


def test_stopping_in_the_middle_of_a_budget_changes_nothing_later(tmp_path: Path, policy: Path) -> None:
    whole, broken = (make_run(tmp_path / name, policy) for name in ("whole", "broken"))
    stopping = threading.Event()
    stopping.set()
    for run in (whole, broken):
        fill(run, 3)
    with service(broken) as learner:
        learner.step()
        learner.step()
        learner.step(stopping)
        assert learner.learner.owed > 0
    assert numbers(broken.adapters) == [1, 2]
    for run in (whole, broken):
        with service(run) as learner:
            while learner.step():
                pass
    assert same(weights(whole, 3), weights(broken, 3))


def test_a_learner_that_rests_does_no_update_and_goes_on_where_it_was(tmp_path: Path, policy: Path) -> None:
    whole, rested = (make_run(tmp_path / name, policy) for name in ("whole", "rested"))
    for run in (whole, rested):
        fill(run, 3)
    active, stopping, before = threading.Event(), threading.Event(), 0

    def awake() -> bool:
        """Falls asleep in the middle of the third episode's budget."""
        if learner.learner.owed and learner.learner.version == 3 and learner.learner.updates == before:
            active.clear()
        return active.is_set()

    with service(rested) as learner:
        active.set()
        learner.step()
        learner.step()
        before = learner.learner.updates
        serving = threading.Thread(target=learner.serve, args=(stopping, awake))
        serving.start()
        time.sleep(0.3)
        assert (learner.learner.updates, numbers(rested.adapters)) == (before, [1, 2])
        before = -1
        active.set()
        deadline = time.monotonic() + 20.0
        while numbers(rested.adapters) != [1, 2, 3] and time.monotonic() < deadline:
            time.sleep(0.02)
        stopping.set()
        serving.join()
    with service(whole) as learner:
        while learner.step():
            pass
    assert same(weights(whole, 3), weights(rested, 3))


def test_a_corrected_label_is_seen_by_the_next_budget(tmp_path: Path, policy: Path) -> None:
    first, second = (make_run(tmp_path / name, policy) for name in ("first", "second"))
    for run in (first, second):
        fill(run, 2)
        with service(run) as learner:
            while learner.step():
                pass
            if run is second:
                label(run, 1, LabelValue.FAILURE)
            record(run, 3)
            label(run, 3)
            learner.step()
    assert same(weights(first, 2), weights(second, 2))
    assert not same(weights(first, 3), weights(second, 3))
    assert read_weights(second.adapters, 3)[1]["label_watermark"] == 4


def test_a_label_corrected_after_the_last_episode_is_in_the_next_batch(run: RunDirectory) -> None:
    fill(run, 3)
    with service(run) as learner:
        while learner.step():
            pass
        published = weights(run, 3)

        def successes() -> float:
            """Reward of one epoch or so."""
            return float(learner.learner.replay.sample(512, torch.Generator().manual_seed(0)).reward.sum())

        assert successes() > 0
        for episode in (1, 3):
            label(run, episode, LabelValue.FAILURE)
        assert learner.step() is False
        assert successes() == 0
        assert learner.learner.owed == 0
        assert status(run)["label_watermark"] == 5
    assert same(weights(run, 3), published)
    assert read_weights(run.adapters, 3)[1]["label_watermark"] == 3


def test_a_version_published_again_names_the_labels_that_it_was_trained_on(run: RunDirectory) -> None:
    fill(run, 3)
    with service(run) as learner:
        while learner.step():
            pass
    label(run, 1, LabelValue.FAILURE)
    (run.adapters / "000003.json").unlink()
    with service(run):
        assert read_weights(run.adapters, 3)[1]["label_watermark"] == 3
        assert status(run)["label_watermark"] == 4


def test_a_learner_without_anything_new_looks_at_no_manifest(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, 2)
    with service(run) as learner:
        while learner.step():
            pass
        monkeypatch.setattr("robot_rl.learn.process.training_set", None)
        assert learner.step() is False


def test_an_episode_that_can_be_read_again_is_taken(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot_rl.learn.process.LOOK_S", 0.05)
    fill(run, 2)
    manifest = run.episode(2) / "manifest.json"
    sound = manifest.read_bytes()
    manifest.write_bytes(b"{")
    with service(run, ordered=False) as learner:
        assert [learner.step(), learner.step()] == [True, False]
        manifest.write_bytes(sound)
        time.sleep(0.1)
        assert learner.step() is True
        assert learner.learner.consumed == [1, 2]


def draw(learner: LearnerService) -> Batch:
    return learner.learner.replay.sample(64, torch.Generator().manual_seed(0))


def test_a_second_life_reads_packed_transitions_and_pools(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(run, 3)
    with service(run) as learner:
        while learner.step():
            pass
        expected = draw(learner)
    monkeypatch.setattr("robot_rl.store.packed.read_transitions", None)
    monkeypatch.setattr(Learner, "_pool", None)
    with service(run) as learner:
        got = draw(learner)
    assert expected.pool_chunks is not None
    for name in ("features", "executed", "reward", "pool_steer", "pool_chunks"):
        assert torch.equal(getattr(got, name), getattr(expected, name)), name


def test_a_pool_that_was_kept_for_other_settings_is_decoded_again(tmp_path: Path, policy: Path) -> None:
    """The same episodes under another seed: with what the first seed kept beside them, and without."""
    drawn = []
    for before in ([3, 4], [4]):
        run = make_run(tmp_path / f"run-{len(before)}", policy)
        fill(run, 3)
        for seed in before:
            info = json.loads(run.run_json.read_bytes())
            run.run_json.write_text(json.dumps(info | {"seed": seed}))
            shutil.rmtree(run.checkpoints)
            with service(RunDirectory.open(run.path), ordered=False) as learner:
                learner.step()
                batch = draw(learner)
        drawn.append(batch)
    for name in ("pool_steer", "pool_chunks"):
        assert torch.equal(getattr(drawn[0], name), getattr(drawn[1], name)), name


def test_a_label_corrected_in_the_middle_of_a_budget_counts_from_there_on(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot_rl.learn.process.SLICE", 2)
    untouched, corrected = (make_run(tmp_path / name, policy) for name in ("untouched", "corrected"))
    for run in (untouched, corrected):
        fill(run, 2)
    with service(untouched) as learner:
        learner.step()
        learner.step()
    with service(corrected) as learner:
        learner.step()
        learn, pending = learner.learner.learn, [1]

        def learn_and_correct_once(updates: int | None = None) -> int:
            done = learn(updates)
            if pending:
                label(corrected, pending.pop(), LabelValue.FAILURE)
            return done

        monkeypatch.setattr(learner.learner, "learn", learn_and_correct_once)
        learner.step()
    assert read_weights(corrected.adapters, 2)[1]["label_watermark"] == 3
    assert not same(weights(untouched, 2), weights(corrected, 2))


def test_the_first_batch_after_a_correction_has_the_new_reward(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot_rl.learn.process.SLICE", 1)
    run = make_run(tmp_path / "run", policy, utd=10)
    fill(run, 2)
    last = torch.from_numpy(read_transitions(run.episode(1))[-1].features)
    rewards: list[set[float]] = []
    with service(run) as learner:
        sample = learner.learner.replay.sample

        def spy(size: int, generator: torch.Generator) -> Batch:
            if len(rewards) == 20:
                label(run, 1, LabelValue.FAILURE)
            batch = sample(size, generator)
            rewards.append(set(batch.reward[(batch.features == last).all(1)].tolist()))
            return batch

        monkeypatch.setattr(learner.learner.replay, "sample", spy)
        learner.step()
        learner.step()
    assert len(rewards) == 2 * CHUNKS * 10
    assert set.union(*rewards[:21]) == {1.0}
    assert set.union(*rewards[21:]) == {0.0}


def test_bad_episodes_are_refused_and_the_rest_is_learnt(run: RunDirectory) -> None:
    fill(run, 2)
    features = FlowPolicy.load(run.policy).spec.features
    record(run, 3, features=np.full(features, np.nan, np.float32))
    label(run, 3)
    record(run, 4)
    label(run, 4)
    damaged = run.episode(4) / "episode.mcap"
    damaged.write_bytes(damaged.read_bytes()[:100])
    record(run, 5)
    label(run, 5)
    for _ in range(2):  # the second life meets them again
        with service(run) as learner:
            while learner.step():
                pass
            assert learner.learner.version == 5
            assert learner.learner.updates == 3 * CHUNKS * UTD
    assert status(run)["refused"].keys() == {"3", "4"}
    assert "NaN" in status(run)["refused"]["3"]


def test_learning_that_diverges_stops_and_what_was_learnt_before_goes_on_acting(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, 4)
    with service(run) as first:
        while first.step():
            pass
    good, then = read_weights(run.adapters, 4)
    learn = Learner.learn

    def spoil(learner: Learner, updates: int | None = None) -> int:
        done = learn(learner, updates)
        learner.losses["td_loss"] = float("nan")
        for array in learner.actor_arrays().values():  # views of what the next update begins from
            array[...] = np.nan
        return done

    monkeypatch.setattr(Learner, "learn", spoil)
    fill(run, 6, first=5)
    with service(run) as spoilt:
        while spoilt.step():
            pass
    monkeypatch.undo()  # a new start learns nothing more either, and is as truthful
    fill(run, 7, first=7)
    with service(run) as again:
        while again.step():
            pass
    assert numbers(run.adapters)[-3:] == [5, 6, 7]
    assert numbers(run.checkpoints)[-1] == 7
    for version in (5, 6, 7):
        arrays, manifest = read_weights(run.adapters, version)
        assert same(arrays, good)
        assert "td_loss is nan" in manifest["diverged"]
        kept = ("updates", "chunks", "warmup", "label_watermark", "losses")
        assert {name: manifest[name] for name in kept} == {name: then[name] for name in kept}
        assert manifest["through_episode"] == version
        load_adapter(run.adapters, version, FlowPolicy.load(run.policy).spec)
    said = status(run)
    assert (said["owed"], said["updates"]) == (0, then["updates"])
    assert said["utd_reason"] == "learning has stopped: it has diverged"
    assert said["alarms"] == [said["diverged"]]
    assert re.match(r"learning has diverged: .*lower learning rates \(update \d+: td_loss is nan\)$", said["diverged"])
    assert check_weights(run)[1] == []


@pytest.mark.parametrize(("warmup", "ordered"), [(WARMUP, True), (WARMUP, False), (0, True)])
def test_where_nothing_was_learnt_before_the_base_policy_goes_on_acting(
    tmp_path: Path, policy: Path, warmup: int, ordered: bool
) -> None:
    run = make_run(tmp_path / "run", policy, learning_rate=1e20, warmup_episodes=warmup)
    fill(run, 4)
    with service(run, ordered=ordered) as diverging:
        while diverging.step():
            pass
    assert "learning has diverged" in status(run)["diverged"]
    assert read_weights(run.adapters, 4)[1]["updates"] == 0
    assert isinstance(load_adapter(run.adapters, 4, FlowPolicy.load(run.policy).spec), BaseAdapter)
    assert read_weights(run.checkpoints, 4)[1]["warmup"]


def test_a_critic_that_breaks_in_the_last_update_is_in_no_checkpoint(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loss is from before the step, and the actor has not followed yet."""
    fill(run, 4)
    learn = Learner.learn

    def spoil(learner: Learner, updates: int | None = None) -> int:
        done = learn(learner, updates)
        module = next(module for part, module in learner._parts().items() if "critic" in part)
        state = {name: tensor.clone() for name, tensor in module.state().items()}
        next(iter(state.values())).reshape(-1)[0] = float("inf")
        module.load(state)
        return done

    monkeypatch.setattr(Learner, "learn", spoil)
    with service(run) as spoilt:
        while spoilt.step():
            pass
    assert "weights of the critic are not finite" in status(run)["diverged"]
    for version in numbers(run.checkpoints):
        assert all(np.isfinite(array).all() for array in read_weights(run.checkpoints, version)[0].values())


def test_a_status_that_the_disk_refused_is_written_when_it_can_be(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, 1)
    with service(run) as learner:
        while learner.step():
            pass
        label(run, 1, LabelValue.FAILURE)
        write = process_module.write_json
        monkeypatch.setattr(process_module, "write_json", lambda *_: (_ for _ in ()).throw(DiskError("full")))
        assert not learner.step()
        assert status(run)["label_watermark"] == 1
        monkeypatch.setattr(process_module, "write_json", write)
        assert not learner.step()
        assert status(run)["label_watermark"] == 2


def test_an_episode_that_was_refused_stays_refused_though_it_can_be_read_again(run: RunDirectory) -> None:
    fill(run, 4)
    recording = next(run.episode(3).glob("*.mcap"))
    whole = recording.read_bytes()
    recording.write_bytes(whole[:200])
    (run.episode(3) / "transitions.packed").unlink(missing_ok=True)
    with service(run) as cut:
        while cut.step():
            pass
        reason = cut.learner.refused[3]
    recording.write_bytes(whole)
    with service(run) as again:
        assert again.learner.refused == {3: reason}
        assert again.learner.version == 4
        record(run, 5)
        label(run, 5)
        assert again.step()
    assert numbers(run.adapters)[-1] == 5


def test_the_only_label_may_be_withdrawn_while_the_learner_rests(tmp_path: Path, policy: Path) -> None:
    run = make_run(tmp_path / "run", policy, warmup_episodes=1)
    fill(run, 1)
    looks: list[int] = []

    def awake() -> bool:
        looks.append(len(looks))
        if len(looks) == 1:
            label(run, 1, LabelValue.DISCARD)
        return len(looks) > 1

    with service(run) as resting:
        resting.step(None, awake)
        assert status(run)["updates_per_second"] is None
        record(run, 2)
        label(run, 2)
        assert resting.step()
    assert status(run)["updates"] > 0


@pytest.mark.parametrize("plain_bytes", [columns.PLAIN_BYTES, 0])
def test_what_the_disk_refuses_is_kept_until_there_is_space(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch, plain_bytes: int
) -> None:
    """At whichever operation of taking in, publishing and reporting it is full; nothing is learnt twice or in between.

    Without plain memory the replay is in files, and an episode waits for room in it.
    """
    monkeypatch.setattr("robot_rl.learn.process.RETRY_S", 0.0)
    monkeypatch.setattr(columns, "STEP_BYTES", 4096)
    begun = make_run(tmp_path / "begun", policy)
    fill(begun, 4)
    with service(begun) as learner:
        for _ in range(2):
            learner.step()
    whole = copy(begun, tmp_path / "whole")
    with service(whole) as learner:
        while learner.step():
            pass
    monkeypatch.setattr(columns, "PLAIN_BYTES", plain_bytes)
    nth = held = waited = 0
    while True:
        nth += 1 if plain_bytes == 0 else 3  # the operations of publishing are the same in both
        run = copy(begun, tmp_path / str(nth))
        with service(run) as learner:
            with failing(Disk(run.path, nth, "full", lasts=2)) as disk:
                learner.step()
                held += numbers(run.adapters) == [1, 2]
                waited += learner.learner.version == 2 and "waits to be learnt from" in str(status(run)["alarms"])
                while max(numbers(run.adapters)) < 4:
                    learner.step()
            assert learner.learner.updates == 4 * CHUNKS * UTD
            assert learner.learner.replay.in_files == (plain_bytes == 0)
            assert not status(run)["alarms"]
        assert numbers(run.adapters) == [1, 2, 3, 4]
        assert all(same(weights(run, version), weights(whole, version)) for version in (3, 4)), f"operation {nth}"
        if not disk.failed:
            break
    assert nth > 20
    assert held >= (10 if plain_bytes == 0 else 3)
    assert (waited > 0) == (plain_bytes == 0)


def test_a_folder_that_cannot_be_written_is_an_alarm_until_it_can(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot_rl.learn.process.RETRY_S", 0.0)
    fill(run, 1)
    with service(run) as learner:
        run.checkpoints.rename(aside := run.path / "aside")
        run.checkpoints.write_text("no folder")
        learner.step()
        assert status(run)["alarms"][0].startswith(
            f"version 1 is kept in memory, the disk refuses it: could not write {run.checkpoints}"
        )
        run.checkpoints.unlink()
        aside.rename(run.checkpoints)
        learner.step()
        assert status(run)["alarms"] == []


# --- as a process ---------------------------------------------------------------------------------------------------


@contextmanager
def process(run: RunDirectory) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, "-m", "robot_rl.learn", str(run.path), "--ordered"],
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=10)


def wait_for_version(run: RunDirectory, version: int, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while version not in numbers(run.adapters):
        assert started.poll() is None, "the learner ended"
        assert time.monotonic() < deadline, f"version {version} did not come"
        time.sleep(0.01)


def test_a_run_stays_with_the_matrix_products_that_it_took(tmp_path: Path, policy: Path) -> None:
    run = make_run(tmp_path / "run", policy)
    task = yaml.safe_load(run.task_yaml.read_text())
    run.task_yaml.write_text(yaml.safe_dump(task | {"compute": {"matmul": "auto"}}))
    with service(run) as learner:
        taken = learner.learner.matmul
    said = json.loads(run.compute_json.read_bytes())
    assert said["matmul"] == taken
    assert said["onednn_speedup"] > 0
    write_compute(run, "default", 1.0, 0.0)
    with service(run) as learner:
        assert learner.learner.matmul == "default"
    for damaged in ("{cut sho", "[" * 100_000, json.dumps(said | {"matmul": "onednn", "onednn_error": 1.0}), "{}"):
        run.compute_json.write_text(damaged)
        with pytest.raises(IntegrityError, match="delete it to have that decided anew"), service(run):
            pass
    run.compute_json.unlink()
    with service(run) as learner:
        assert learner.learner.matmul == taken


def test_a_precision_in_the_task_file_reaches_the_updates(tmp_path: Path, policy: Path) -> None:
    weights_of = {}
    for precision in ("fp32", "bf16"):
        run = make_run(tmp_path / precision, policy, hidden=64)
        task = yaml.safe_load(run.task_yaml.read_text())
        run.task_yaml.write_text(yaml.safe_dump(task | {"compute": {"matmul": "default", "precision": precision}}))
        fill(run, 3)
        with service(run, ordered=False) as learner:
            learner.step()
        weights_of[precision] = weights(run, 3)
    assert not same(weights_of["fp32"], weights_of["bf16"])
    assert all(
        np.allclose(weights_of["fp32"][name], weights_of["bf16"][name], atol=0.05) for name in weights_of["fp32"]
    )


def test_a_kill_costs_nothing_and_a_signal_ends_it_in_order(tmp_path: Path, policy: Path) -> None:
    whole, broken = (make_run(tmp_path / name, policy) for name in ("whole", "broken"))
    fill(whole, 4)
    with service(whole) as learner:
        while learner.step():
            pass
    fill(broken, 3)
    with process(broken) as first:
        wait_for_version(broken, 2, first)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    with process(broken) as second:
        wait_for_version(broken, 3, second)
        record(broken, 4)
        label(broken, 4)
        wait_for_version(broken, 4, second)
        second.terminate()
        assert second.wait(10) == 0
    assert same(weights(whole, 4), weights(broken, 4))


def test_a_kill_in_the_middle_of_a_budget_costs_that_budget_and_nothing_else(tmp_path: Path, policy: Path) -> None:
    """The third budget is cut off while its updates are counted up, and done anew by the next life."""
    whole, broken = (make_run(tmp_path / name, policy, utd=40) for name in ("whole", "broken"))
    budget = 40 * CHUNKS
    for run in (whole, broken):
        fill(run, 3)
    with service(whole) as learner:
        while learner.step():
            pass
    with process(broken) as first:
        deadline = time.monotonic() + 30
        while not (broken.learner_json.exists() and 2 * budget < status(broken)["updates"]):
            assert time.monotonic() < deadline, "the third budget did not begin"
            time.sleep(0.001)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    assert 2 * budget < status(broken)["updates"] < 3 * budget, "it ended in the middle"
    assert numbers(broken.adapters) == [1, 2]
    with process(broken) as second:
        wait_for_version(broken, 3, second)
    assert all(same(weights(whole, version), weights(broken, version)) for version in (1, 2, 3))


def test_what_is_no_run_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robot_rl.learn", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "is not a run" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("loss", ["missing", "damaged"])
def test_a_version_that_a_kill_left_out_is_published_from_its_checkpoint(run: RunDirectory, loss: str) -> None:
    fill(run, 3)
    with service(run) as learner:
        while learner.step():
            pass
    expected = weights(run, 3)
    manifest = run.adapters / "000003.json"
    if loss == "missing":
        manifest.unlink()
    else:
        manifest.with_suffix(".safetensors").write_bytes(b"not weights")
    with service(run):
        assert same(weights(run, 3), expected)


def test_demonstrations_are_prior_data_also_after_a_restart(tmp_path: Path, policy: Path) -> None:
    steps = 20
    pose = np.tile(np.array([0.5, 0, 0.5, 0, 0, 0, 1.0]), (steps, 1))
    action = np.tile([0.001, 0, 0, 0.04], (steps, 1))
    bins = np.tile(np.array([0.65, 0.0, 0.3, 0.1]), (steps, 1))
    Demonstrations(pose, np.full(steps, 0.04), bins, action, np.zeros(steps, int)).save(tmp_path / "demos.npz")
    run = make_run(
        tmp_path / "run", policy, "rlpd", demonstrations=str(tmp_path / "demos.npz"), residual_layout="constant"
    )
    spec = FlowPolicy.load(policy).spec
    for episode in (1, 2, 3):
        steer = np.zeros(4, np.float32)
        record(run, episode, steer=steer)
        label(run, episode)
    with service(run) as made:
        prior = len(made.learner.replay)
        assert prior == -(-steps // spec.horizon)
        assert made.learner.chunks == 0
        while made.step():
            pass
        assert made.learner.version == 3
        weights = made.learner.actor_arrays()["layer.0.weight"].copy()
    with service(run) as again:
        assert len(again.learner.replay) == len(made.learner.replay)
        assert np.array_equal(again.learner.actor_arrays()["layer.0.weight"], weights)
