"""Offline training: from a twin's run through the store, bit for bit; what comes of it is a run that goes on."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from robot_rl.adapters.files import numbers, read_weights
from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.compositions.pretraining import save_demonstrations
from robot_rl.compositions.train_offline import OfflineRequest, train_offline
from robot_rl.errors import ConfigError, RobotRLError, SpecMismatch, StoreError
from robot_rl.store.episode import read_manifest, read_messages, read_transitions
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.store.taken import ORIGIN
from robot_rl.store.training import labelled_episodes
from robot_rl.task_files import load_task
from robot_rl.types import Label, LabelValue, Transition
from tests.small_task import write_small_task

EPISODES = 5
Recorded = tuple[Path, list[Transition]]


def play(folder: Path, episodes: int) -> None:
    """Begin a run of USR, or go on with a run, until it has `episodes`."""
    directory, info, config, policy = open_run(folder)
    plan = RunPlan(directory, info, config, policy, episodes, auto_label=True, console_port=None)
    run_lockstep(plan, lambda actor: None, lambda url: None)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run in the twin, and its transitions as the control loop gave them to the store."""
    folder, given = tmp_path_factory.mktemp("recorded"), []
    write, patch = Store.write_transition, pytest.MonkeyPatch()

    def keep(store: Store, transition: Transition) -> None:
        given.append(transition)
        write(store, transition)

    patch.setattr(Store, "write_transition", keep)
    new_run(folder / "run", str(write_small_task(folder)), "usr", 7, {"label": "human"})
    play(folder / "run", EPISODES)
    patch.undo()
    return folder / "run", given


def train(out: Path, *runs: Path, **request: Any) -> dict[str, Any]:
    """Its last line, as JSON."""
    text = io.StringIO()
    train_offline(OfflineRequest(runs, out=out, **request), Console(file=text, width=120))
    results: dict[str, Any] = json.loads(text.getvalue().splitlines()[-1])
    return results


def transitions(run: Path) -> list[Transition]:
    directory = RunDirectory.open(run)
    return [t for number in directory.closed_episodes() for t in read_transitions(directory.episode(number))]


def weights(run: Path) -> bytes:
    """Of the newest adapter."""
    adapters = RunDirectory.open(run).adapters
    return (adapters / f"{numbers(adapters)[-1]:06d}.safetensors").read_bytes()


def same_bits(a: Transition, b: Transition) -> bool:
    for field in fields(Transition):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if isinstance(ours, np.ndarray):
            if (ours.dtype, ours.shape, ours.tobytes()) != (theirs.dtype, theirs.shape, theirs.tobytes()):
                return False
        elif ours != theirs:
            return False
    return True


def copied(run: Path, to: Path) -> Path:
    """Another run with the same files."""
    shutil.copytree(run, to)
    return to


def test_what_the_twin_did_is_what_is_learnt_from_bit_for_bit(recorded: Recorded, tmp_path: Path) -> None:
    run, given = recorded
    train(tmp_path / "out", run)
    found = transitions(tmp_path / "out")
    assert len(found) == len(given) > EPISODES
    assert all(same_bits(before, after) for before, after in zip(given, found, strict=True))
    assert labelled_episodes(RunDirectory.open(tmp_path / "out")) == labelled_episodes(RunDirectory.open(run))


@pytest.mark.parametrize("method", ["usr", "dsrl-na"])
def test_same_episodes_labels_and_seed_are_the_same_adapter(recorded: Recorded, tmp_path: Path, method: str) -> None:
    run, _ = recorded
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path / name, run, method=method, seed=seed, updates=30)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_another_label_is_another_adapter(recorded: Recorded, tmp_path: Path) -> None:
    run, _ = recorded
    other = copied(run, tmp_path / "other")
    flipped = {LabelValue.SUCCESS: LabelValue.FAILURE, LabelValue.FAILURE: LabelValue.SUCCESS}
    log = LabelLog(other / "labels.sqlite")
    log.add(Label("corrected", 1, flipped[log.current()[1].label.value], "test"))
    log.close()
    for name, source in (("a", run), ("b", other)):
        train(tmp_path / name, source, updates=30)
    assert weights(tmp_path / "a") != weights(tmp_path / "b")


def test_what_comes_of_it_is_a_run_that_goes_on_online(recorded: Recorded, tmp_path: Path) -> None:
    run, _ = recorded
    results = train(tmp_path / "out", run, method="dsrl-na", seed=3)
    directory, info, task, _ = open_run(tmp_path / "out")
    assert (info.method, info.seed, info.arguments["label"]) == ("dsrl-na", 3, "human")
    assert task.method("dsrl-na").warmup_episodes == EPISODES
    assert results["updates"] == int(task.method("dsrl-na").utd * results["chunks"])
    assert results["adapter_version"] == EPISODES
    play(tmp_path / "out", EPISODES + 2)
    assert read_manifest(directory.episode(EPISODES + 1)).header.adapter_version == EPISODES
    _, manifest = read_weights(directory.adapters, EPISODES + 2)
    assert manifest["updates"] == int(task.method("dsrl-na").utd * manifest["chunks"]) > results["updates"]


def test_an_episode_says_where_it_is_from(recorded: Recorded, tmp_path: Path) -> None:
    run, _ = recorded
    train(tmp_path / "out", run)
    folder = RunDirectory.open(tmp_path / "out").episode(2)
    (origin,) = read_messages(folder, ORIGIN)
    source = read_manifest(RunDirectory.open(run).episode(2))
    assert origin.body == {"run": str(run), "episode": 2, "sha256": source.sha256, "steers_known": True}
    assert replace(read_manifest(folder).header, episode=2) == source.header


def test_runs_and_demonstrations_are_mixed_and_what_is_discarded_is_left_out(
    recorded: Recorded, tmp_path: Path
) -> None:
    run, _ = recorded
    other = copied(run, tmp_path / "other")
    log = LabelLog(other / "labels.sqlite")
    log.add(Label("discarded", 2, LabelValue.DISCARD, "test"))
    log.close()
    demos = tmp_path / "demos.npz"
    save_demonstrations(load_task(other / "task.yaml"), demos, 2, 0, Console(file=io.StringIO()))
    results = train(tmp_path / "out", run, other, method="rlpd", demonstrations=demos, updates=5)
    assert (results["demonstrations"], results["episodes"], results["left_out"]) == (2, 2 * EPISODES + 1, 1)
    assert (results["updates"], results["refused"]) == (5, 0)
    assert len(transitions(tmp_path / "out")) == results["chunks"]


def test_a_damaged_episode_is_left_out_and_counted(recorded: Recorded, tmp_path: Path) -> None:
    run, _ = recorded
    other = copied(run, tmp_path / "other")
    recording = RunDirectory.open(other).episode(2) / "episode.mcap"
    recording.write_bytes(recording.read_bytes()[:-1])
    results = train(tmp_path / "out", other, updates=1)
    assert (results["episodes"], results["left_out"]) == (EPISODES - 1, 1)


def test_a_steer_that_was_lost_in_one_run_is_not_found_in_the_next(recorded: Recorded, tmp_path: Path) -> None:
    run, given = recorded
    assert any(t.steer[4:].any() for t in given), "the residual acted"
    train(tmp_path / "out", run, method="dsrl-na", updates=1)
    with pytest.raises(SpecMismatch, match="take the episode from where it was recorded"):
        train(tmp_path / "next", tmp_path / "out", method="dsrl-sac")


def test_a_residual_on_the_base_policy_is_learnt_from_what_the_base_policy_does(
    recorded: Recorded, tmp_path: Path
) -> None:
    """USR chose the noise of what it decoded; Policy Decorator's base chunk is of noise that nobody chose."""
    run, given = recorded
    train(tmp_path / "out", run, method="policy-decorator", updates=1)
    kept = transitions(tmp_path / "out")
    assert len(kept) == len(given)
    for before, after in zip(given, kept, strict=True):
        assert np.array_equal(before.executed_chunk, after.executed_chunk)
        assert not np.array_equal(before.base_chunk, after.base_chunk)


def test_what_was_steered_is_not_the_bases_own_after_a_detour(recorded: Recorded, tmp_path: Path) -> None:
    run, given = recorded
    train(tmp_path / "on_the_way", run, method="rlpd", updates=1)
    train(tmp_path / "out", tmp_path / "on_the_way", method="policy-decorator", updates=1)
    for before, after in zip(given, transitions(tmp_path / "out"), strict=True):
        assert np.array_equal(before.executed_chunk, after.executed_chunk)
        assert not np.array_equal(before.base_chunk, after.base_chunk)


def test_nothing_is_made_for_episodes_that_do_not_fit(recorded: Recorded, tmp_path: Path) -> None:
    run, _ = recorded
    other, still = copied(run, tmp_path / "other"), copied(run, tmp_path / "still")
    task = yaml.safe_load((run / "task.yaml").read_text())
    task["methods"]["zprl"]["latent_scale"] = 0
    for folder, changes in ((other, {"name": "another"}), (still, {})):
        (folder / "task.yaml").write_text(yaml.safe_dump(task | changes))
        info = json.loads((folder / "run.json").read_text())
        del info["arguments"]["task_sha256"]
        (folder / "run.json").write_text(json.dumps(info))
    refused: list[tuple[type[RobotRLError], str, tuple[Path, ...], dict[str, Any]]] = [
        (SpecMismatch, "one task and one policy", (run, other), {}),
        (ConfigError, "more than once", (run, run / ".." / "run"), {}),
        (ConfigError, "did you mean 'usr'", (run,), {"method": "uzr"}),
        (SpecMismatch, "learns from steers", (run,), {"method": "zprl"}),
        (SpecMismatch, "by latent_scale there is nothing to steer", (still,), {"method": "zprl"}),
        (StoreError, "is not a run", (tmp_path,), {}),
    ]
    for error, words, runs, request in refused:
        with pytest.raises(error, match=words):
            train(tmp_path / "out", *runs, **request)
        assert not (tmp_path / "out").exists()


def test_without_labels_there_is_nothing_to_learn(tmp_path: Path) -> None:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    with pytest.raises(StoreError, match="label some"):
        train(tmp_path / "out", tmp_path / "run")
