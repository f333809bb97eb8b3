"""Which version acts: exactly the one due in lockstep, the newest verified one in real time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from robot_rl.adapters.acting import BaseAdapter, SteeringAdapter
from robot_rl.adapters.files import read_weights, write_weights
from robot_rl.compositions.adapter_source import LAG, LockstepAdapters, NewestAdapters, Versions, await_version
from robot_rl.learn.learner import Learner
from robot_rl.store.episode import EpisodeWriter
from robot_rl.store.files import write_json
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.types import Label, LabelValue
from tests.learn.bandit import SMALL, SPEC, BimodalDecoder
from tests.store.examples import SUCCESS, header

METHOD = SMALL.model_copy(update={"hidden": 8, "warmup_episodes": 0})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", RunInfo("bandit", "dsrl-na", 0, SPEC.hash, "0.1.0"))


def label(run: RunDirectory, episode: int, value: LabelValue = LabelValue.SUCCESS) -> None:
    """Close `episode` and label it."""
    EpisodeWriter(run, replace(header(episode), spec_hash=SPEC.hash)).close(SUCCESS)
    log = LabelLog(run.labels)
    log.add(Label(f"label-{episode}", episode, value, "test"))
    log.close()


def publish(run: RunDirectory, version: int) -> None:
    learner = Learner(SPEC, "dsrl-na", METHOD, BimodalDecoder(), seed=version)
    write_weights(
        run.adapters,
        version,
        learner.actor_arrays(),
        {**learner.manifest(), "version": version, "through_episode": version},
    )


def damage(run: RunDirectory, version: int) -> None:
    weights = run.adapters / f"{version:06d}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


# --- lockstep -------------------------------------------------------------------------------------------------------


def test_before_anything_is_learnt_the_base_policy_acts(run: RunDirectory) -> None:
    source = LockstepAdapters(Versions(run, SPEC, METHOD))
    for episode in range(1, 2 + LAG):
        adapter = source.next(episode)
        assert isinstance(adapter, BaseAdapter)
        assert adapter.version == 0
        label(run, episode)


def test_exactly_the_version_due_acts_also_when_newer_ones_are_there(run: RunDirectory) -> None:
    for number in range(1, 4):
        label(run, number)
        publish(run, number)
    adapter = LockstepAdapters(Versions(run, SPEC, METHOD)).next(4)
    assert isinstance(adapter, SteeringAdapter)
    assert adapter.version == 3 - LAG


def test_it_is_waited_for_while_it_is_not_there(run: RunDirectory) -> None:
    source = LockstepAdapters(Versions(run, SPEC, METHOD))
    for number in range(1, 4):
        label(run, number)
    publish(run, 1)
    assert source.next(4) is None
    assert source.next(4) is None
    publish(run, 2)
    adapter = source.next(4)
    assert adapter is not None
    assert adapter.version == 2


def test_a_run_that_began_offline_acts_with_its_first_version_at_once(run: RunDirectory) -> None:
    for number in range(1, 4):
        label(run, number)
    publish(run, 3)
    versions = Versions(run, SPEC, METHOD)
    adapter = LockstepAdapters(versions).next(4)
    assert adapter is not None
    assert adapter.version == 3
    assert versions.alarms == ["no version through episode 2 can be used: version 3 acts"]
    info = json.loads(run.run_json.read_text())
    run.run_json.write_text(json.dumps(info | {"arguments": {"offline": ["runs/first"]}}))
    quiet = Versions(run, SPEC, METHOD)
    assert LockstepAdapters(quiet).next(4) is not None
    assert quiet.alarms == []  # it never had an older one


def test_the_version_due_is_fixed_when_an_episode_first_asks(run: RunDirectory) -> None:
    """A correction that comes while the learner is waited for does not move the goal."""
    source = LockstepAdapters(Versions(run, SPEC, METHOD))
    for number in range(1, 4):
        label(run, number)
    assert source.next(4) is None
    log = LabelLog(run.labels)
    log.add(Label("correction", 2, LabelValue.DISCARD, "test"))
    log.close()
    for number in (1, 2):
        publish(run, number)
    adapter = source.next(4)
    assert adapter is not None
    assert adapter.version == 2


def test_discarded_episodes_do_not_count(run: RunDirectory) -> None:
    for number, value in ((1, LabelValue.SUCCESS), (2, LabelValue.DISCARD), (3, LabelValue.FAILURE)):
        label(run, number, value)
    publish(run, 1)
    adapter = LockstepAdapters(Versions(run, SPEC, METHOD)).next(4)
    assert adapter is not None
    assert adapter.version == 2 - LAG


def test_a_damaged_version_is_replaced_by_the_one_before_it(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 4):
        label(run, number)
        publish(run, number)
    damage(run, 2)
    adapter = LockstepAdapters(Versions(run, SPEC, METHOD)).next(4)
    assert adapter is not None
    assert adapter.version == 1
    assert "000002" in caplog.text


def test_a_version_that_will_not_come_any_more_is_not_waited_for(run: RunDirectory) -> None:
    for number in range(1, 4):
        label(run, number)
    publish(run, 1)
    publish(run, 3)
    adapter = LockstepAdapters(Versions(run, SPEC, METHOD)).next(4)
    assert adapter is not None
    assert adapter.version == 1


def test_an_episode_discarded_after_it_was_learnt_does_not_shift_the_versions(run: RunDirectory) -> None:
    for number in range(1, 5):
        label(run, number)
        publish(run, number)
    log = LabelLog(run.labels)
    log.add(Label("second-thoughts", 2, LabelValue.DISCARD, "test"))
    log.close()
    adapter = LockstepAdapters(Versions(run, SPEC, METHOD)).next(5)
    assert adapter is not None
    assert adapter.version == 4 - LAG


# --- real time ------------------------------------------------------------------------------------------------------


def test_in_real_time_the_newest_that_verifies_acts(run: RunDirectory) -> None:
    source = NewestAdapters(Versions(run, SPEC, METHOD))
    assert isinstance(source.next(1), BaseAdapter)
    for version in (1, 2, 5):
        publish(run, version)
    assert source.next(2).version == 5
    damage(run, 5)
    assert source.next(3).version == 2
    for version in (1, 2):
        damage(run, version)
    assert isinstance(source.next(4), BaseAdapter)


def test_what_is_damaged_or_foreign_is_not_used_and_an_alarm_says_so_once(
    run: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    for version in (1, 2, 3, 4):
        publish(run, version)
    damage(run, 4)
    for name, change in (("task", "drawer"), ("spec_hash", "ab12")):
        number = {"task": 3, "spec_hash": 2}[name]
        arrays, manifest = read_weights(run.adapters, number)
        write_weights(run.adapters, number, arrays, {**manifest, name: change})
    versions = Versions(run, SPEC, METHOD)
    for _ in range(2):
        assert NewestAdapters(versions).next(5).version == 1
    assert len(versions.alarms) == 3
    assert "000004" in versions.alarms[0]
    assert "is of task 'drawer', this run is of 'bandit'" in versions.alarms[1]
    assert f"(spec ab12), this run has bandit (spec {SPEC.hash[:12]})" in versions.alarms[2]
    assert caplog.text.count("is not used") == 3


# --- the end of a run -----------------------------------------------------------------------------------------------


def test_the_last_version_knows_every_labelled_episode(run: RunDirectory) -> None:
    for number in (1, 2):
        label(run, number)
    publish(run, 1)
    said = {"version": 2, "label_watermark": 2, "waiting": 0, "owed": 0}
    at = {
        1: lambda: write_json(run.learner_json, {**said, "version": 1, "waiting": 1}),
        2: lambda: write_json(run.learner_json, {**said, "owed": 5}),
        3: lambda: write_json(run.learner_json, said),  # all learnt, and not published yet
        4: lambda: label(run, 3),  # one more label comes between
        5: lambda: publish(run, 2),
        6: lambda: write_json(run.learner_json, {**said, "label_watermark": 3}),
    }
    asked: list[int] = []

    def pump() -> None:
        asked.append(len(asked))
        at[len(asked)]()

    adapter = await_version(Versions(run, SPEC, METHOD), pump)
    assert adapter is not None
    assert adapter.version == 2
    assert len(asked) == 6


def test_without_a_labelled_episode_there_is_nothing_to_wait_for(run: RunDirectory) -> None:
    assert await_version(Versions(run, SPEC, METHOD), lambda: pytest.fail("waited")) is None


def test_what_the_pump_raises_ends_the_wait(run: RunDirectory) -> None:
    label(run, 1)

    def pump() -> None:
        raise RuntimeError("the learner ended")

    with pytest.raises(RuntimeError, match="the learner ended"):
        await_version(Versions(run, SPEC, METHOD), pump)
