"""`robot-rl adapt`: what comes of it is a run, each episode by its number and its version, and a death costs time."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from robot_rl.adapters.acting import load_adapter
from robot_rl.clock import SteppedClock
from robot_rl.compositions.adapt import FAULTS, Adaptation
from robot_rl.compositions.adapter_source import Versions
from robot_rl.compositions.adapting import AdaptRequest, adapt
from robot_rl.compositions.crew import Loss, Played
from robot_rl.compositions.housekeeping import verify_run
from robot_rl.compositions.plan import begin_run, material_of, new_run, open_run
from robot_rl.compositions.rerun import rerun_and_show
from robot_rl.compositions.results import Rate
from robot_rl.compositions.rollout import Stage
from robot_rl.compositions.rollout_worker import Staging
from robot_rl.compositions.running import RunRequest, run_task
from robot_rl.compositions.transfer import read_learnt
from robot_rl.errors import ConfigError, RobotFault
from robot_rl.protocols import Adapter
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, read_manifest, read_transitions
from robot_rl.store.files import read_json
from robot_rl.store.run import ADAPT, RunDirectory
from robot_rl.store.store import Store
from robot_rl.store.training import labelled_episodes
from robot_rl.task_files import task_path
from robot_rl.twins import load_randomised, randomisation
from robot_rl.types import Label, LabelValue, Transition
from tests.small_task import write_small_task

WORKERS, EPISODES, TRIALS, SEED = 2, 6, 2, 7
LOOK_S = 1.0
"""How long a look for a worker at play may take: on a loaded machine an episode can be over between two looks."""


def said(console: Console) -> str:
    file: Any = console.file
    text: str = file.getvalue()
    return text


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


@dataclass(frozen=True)
class Trained:
    """A run in which a worker was killed while it played."""

    run: RunDirectory
    figures: dict[str, Any]
    text: str
    lost: int


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder, console, killed = tmp_path_factory.mktemp("adapt"), quiet(), []

    def kill_one(going: Adaptation) -> None:
        """Whoever plays behind the second episode; who has its turn is waited for until it has begun to record."""
        deadline = time.monotonic() + LOOK_S
        while not killed and len(going.rota.labelled) >= 2 and going.rota.playing and time.monotonic() < deadline:
            for partial in going.run.staged.glob("*/episodes/.*.partial"):
                name = partial.parent.parent.name.rpartition("-")[0]
                os.kill(going.pids[name], signal.SIGKILL)
                killed.append(int(partial.name[1:7]))
                return
            time.sleep(0.001)

    request = AdaptRequest(
        task=str(write_small_task(folder)), method="usr", episodes=EPISODES, seed=SEED, workers=WORKERS, trials=TRIALS,
        out=folder / "run",
    )  # fmt: skip
    adapt(request, console, kill_one)
    assert killed, "no worker was seen at play"
    text = said(console)
    return Trained(RunDirectory(folder / "run"), json.loads(text.strip().splitlines()[-1]), text, killed[0])


def test_it_ends_with_its_figures(trained: Trained) -> None:
    figures, values = trained.figures, [value for _, value in labelled_episodes(trained.run)]
    assert (figures["episodes"], figures["workers"], figures["episodes_played"]) == (EPISODES, WORKERS, EPISODES)
    assert figures["successes"] == sum(value is LabelValue.SUCCESS for value in values)
    assert figures["success_last_20"] == figures["successes"] / EPISODES
    assert figures["base_trials"] == TRIALS
    assert figures["utd_reached"] == figures["utd_wanted"] == 2.0
    assert figures["updates"] == 2 * figures["chunks"]
    assert figures["adapter_version"] == EPISODES
    assert figures["episodes_per_second"] > 0
    assert read_json(trained.run.results / "adapt.json") == figures
    assert (trained.run.results / "curve.png").exists()


def test_a_worker_that_dies_costs_what_it_was_playing_and_no_more(trained: Trained) -> None:
    assert trained.figures["workers_died"] == 1
    if trained.figures["episodes_lost"]:  # else it had closed it in the meantime
        assert trained.figures["episodes_lost"] == [trained.lost]
        assert [path.name for path in trained.run.incomplete_paths()] == [f"{trained.lost:06d}.incomplete.1"]
        assert f"episode {trained.lost} is lost, and is played again" in trained.text
    assert "ended with status -9" in trained.text
    assert trained.run.closed_episodes() == list(range(1, EPISODES + 1))
    assert not trained.run.staged.exists()


def test_the_run_is_sound(trained: Trained) -> None:
    console = quiet()
    assert verify_run(trained.run.path, console), said(console)


def test_each_version_is_the_one_that_the_order_of_episodes_makes_due(trained: Trained) -> None:
    episodes = map(trained.run.episode, range(1, EPISODES + 1))
    versions = [read_manifest(folder).header.adapter_version for folder in episodes]
    assert versions == [max(0, number - 1 - WORKERS) for number in range(1, EPISODES + 1)]


def test_each_episode_is_what_its_number_and_its_version_make_of_it(trained: Trained) -> None:
    """In this process, one after the other, from the last to the first: whoever played them, and when, is nothing."""
    run, info, task, policy = open_run(trained.run.path)
    assert info.ranges is not None
    clock = SteppedClock()
    stage = Stage(task, info.method, policy, load_randomised(task, info.ranges, clock), clock)
    base = Versions(run, policy.spec, task.method(info.method)).base
    for number in reversed(run.closed_episodes()):
        version = read_manifest(run.episode(number)).header.adapter_version
        adapter: Adapter = load_adapter(run.adapters, version, policy.spec) if version else base
        notes = Kept()
        stage.play(number, adapter, notes, seed=SEED)
        recorded = read_transitions(run.episode(number))
        assert [bits(t) for t in notes.transitions] == [bits(t) for t in recorded]


def test_a_rerun_is_in_the_episodes_own_world(trained: Trained) -> None:
    folder, console = trained.run.episode(trained.run.closed_episodes()[-1]), quiet()
    rerun_and_show(folder, None, console)
    figures = json.loads(said(console).strip().splitlines()[-1])
    assert (figures["world"], figures["identical"]) == ("randomised", True)


def test_its_adapter_is_there_to_be_taken_to_a_robot(trained: Trained) -> None:
    learnt = read_learnt(trained.run.path)
    assert (learnt.version, learnt.info.method) == (EPISODES, "usr")


def test_it_is_gone_on_with_by_its_own_command(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"robot-rl adapt --resume {trained.run.path}"):
        run_task(RunRequest(resume=trained.run.path), quiet())
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    with pytest.raises(ConfigError, match=f"robot-rl run --resume {tmp_path / 'run'}"):
        adapt(AdaptRequest(resume=tmp_path / "run"), quiet())


def test_one_who_interrupts_it_is_told_how_to_go_on(tmp_path: Path) -> None:
    def interrupt(going: Adaptation) -> None:
        raise KeyboardInterrupt

    task, console = str(write_small_task(tmp_path)), quiet()
    with pytest.raises(KeyboardInterrupt):
        adapt(AdaptRequest(task=task, workers=1, trials=0, out=tmp_path / "run"), console, interrupt)
    assert f"`robot-rl adapt --resume {tmp_path / 'run'}` goes on" in said(console)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"method": "dsrl-na"}, "method 'dsrl-na': .* was begun with 'usr'"),
        ({"seed": 1}, "seed 1"),
        ({"task": "lid_opening"}, "task 'lid_opening'"),
        ({"out": Path("elsewhere")}, "--out elsewhere"),
        ({"ranges": Path("r.yaml")}, "--ranges r.yaml"),
    ],
)
def test_a_resumed_run_keeps_its_settings(trained: Trained, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        adapt(AdaptRequest(resume=trained.run.path, **asked), quiet())


@pytest.mark.parametrize(
    ("asked", "ranges", "words"),
    [
        ({"workers": 0}, None, "--workers 0: expected at least 1"),
        ({"method": "usrr"}, None, "has no method 'usrr'; did you mean 'usr'"),
        ({}, "frictoin: 1.2", "unknown key; did you mean 'friction'"),
        ({}, "- 1", "expected a mapping at the top, got list"),
        ({}, "{", "not YAML"),
        ({}, "gain: 1.2\ngain: 1.3", "comes twice"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    tmp_path: Path, asked: dict[str, Any], ranges: str | None, words: str
) -> None:
    if ranges is not None:
        (tmp_path / "ranges.yaml").write_text(ranges)
        asked |= {"ranges": tmp_path / "ranges.yaml"}
    with pytest.raises(ConfigError, match=words):
        adapt(AdaptRequest(task=str(write_small_task(tmp_path)), out=tmp_path / "run", **asked), quiet())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("part", "setting", "words"),
    [("limits", {"gripper_low": 0.09}, "gripper"), ("scene", {"bin": 1}, "scene")],
)
def test_a_task_that_fits_no_twin_is_refused_before_anything_is_made(
    tmp_path: Path, part: str, setting: dict[str, Any], words: str
) -> None:
    raw = yaml.safe_load(task_path("lid_opening").read_text())
    task = write_small_task(tmp_path, **{part: raw[part] | setting})
    with pytest.raises(ConfigError, match=words):
        adapt(AdaptRequest(task=str(task), out=tmp_path / "run"), quiet())
    assert not (tmp_path / "run").exists()


# --- what a killed run leaves, and what a worker says; without processes --------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Begun and not yet moved."""
    material = material_of(str(write_small_task(tmp_path)))
    begun = {ADAPT: {"workers": WORKERS, "ranges": randomisation(material.task)}}
    return begin_run(tmp_path / "run", material, "usr", SEED, begun)[0]


def record(run: RunDirectory, worker: str, episode: int, ended_by: Any = "success", *, close: bool = True) -> Played:
    """An episode of one chunk as `worker` records it, without a twin."""
    info, spec = run.read_info(), open_run(run.path)[3].spec
    keeper, stage = Staging(run.staged / worker), run.staged / worker
    keeper.begin(EpisodeHeader(episode, info.task, "usr", spec.policy_id, spec.hash, 0, SEED, 1, "0"))
    complete = ended_by != "fault"
    if close:
        keeper.end(EpisodeOutcome(ended_by, 8, complete, False, complete, {"pass": 8}))
    else:
        keeper.close()
    return Played("train", episode, ended_by, complete, "because", 0, (), stage)


@contextmanager
def adaptation(run: RunDirectory, planned: int = 4, trials: int = 0) -> Iterator[tuple[Adaptation, Store]]:
    """The run's process, as it goes on with what there is."""
    store = Store(run)
    with closing(store), closing(Adaptation(run, store, planned, WORKERS, trials)) as going:
        yield going, store


def test_what_workers_had_closed_when_all_was_killed_is_taken_in(run: RunDirectory) -> None:
    for worker, episode, ended_by in (("1-a", 1, "success"), ("2-b", 2, "timeout"), ("1-c", 4, "success")):
        record(run, f"worker-{worker}", episode, ended_by)
    record(run, "worker-2-b", 3, close=False)
    with adaptation(run) as (going, _):
        going.enter()
        assert labelled_episodes(run) == [(1, LabelValue.SUCCESS), (2, LabelValue.FAILURE)]
        assert [path.name for path in run.incomplete_paths()] == ["000003.incomplete.1"]
        assert going.deal() == {"kind": "train", "episode": 3, "due": 0}, "4 is closed, and waits for it"
        going.take(record(run, "worker-1-d", 3, "failure"))
        going.enter()
        assert going.done
        assert going.deal() == {"kind": "wait"}
        assert going.outcomes == [(1, 1), (2, 0), (3, 0), (4, 1)]
    assert labelled_episodes(run)[2:] == [(3, LabelValue.FAILURE), (4, LabelValue.SUCCESS)]


def test_an_episode_that_is_in_the_run_without_its_label_gets_it(run: RunDirectory) -> None:
    record(run, "worker-1-a", 1)
    with closing(Store(run)) as store:
        store.adopt(RunDirectory(run.staged / "worker-1-a").episode(1))
    for _ in range(2):
        with adaptation(run):
            assert labelled_episodes(run) == [(1, LabelValue.SUCCESS)]


def test_a_dead_workers_closed_episode_is_kept_and_a_damaged_one_is_played_again(run: RunDirectory) -> None:
    with adaptation(run) as (going, store):
        for number in (1, 2):
            assert going.deal()["episode"] == number
            record(run, f"worker-{number}-a", number)
        damaged = RunDirectory(run.staged / "worker-2-a").episode(2) / "episode.mcap"
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
        for number in (1, 2):
            going.lose(Loss(f"worker-{number}", ("train", number), run.staged / f"worker-{number}-a", "it ended"))
        going.enter()
        assert (run.closed_episodes(), going.episodes_lost) == ([1], [2])
        assert [path.name for path in run.incomplete_paths()] == ["000002.incomplete.1"]
        assert [e.detail["episode"] for e in store.events() if e.kind == "episode_lost"] == [2]
        assert "episode 2 is lost, and is played again: it ended" in going.alarms
        assert going.deal() == {"kind": "train", "episode": 2, "due": 0}


def test_one_that_is_damaged_before_it_enters_is_played_again(run: RunDirectory) -> None:
    with adaptation(run) as (going, _):
        assert going.deal()["episode"] == 1
        played = record(run, "worker-1-a", 1)
        (RunDirectory(played.stage).episode(1) / "episode.mcap").write_bytes(b"cut")
        going.take(played)
        going.enter()
        assert going.episodes_lost == [1]
        assert going.deal() == {"kind": "train", "episode": 1, "due": 0}
        going.take(record(run, "worker-2-b", 1))
        going.enter()
        assert labelled_episodes(run) == [(1, LabelValue.SUCCESS)]


def test_a_trial_of_the_frozen_policy_is_tried_again(run: RunDirectory) -> None:
    with adaptation(run, trials=2) as (going, _):
        assert [going.deal()["episode"] for _ in range(2)] == [1, 2]
        going.lose(Loss("worker-1", ("base", 1), run.staged / "worker-1-a", "it ended"))
        assert going.deal() == {"kind": "base", "episode": 1}
        assert going.deal()["kind"] == "train", "nobody waits for the trials"
        for trial, ended_by in ((1, "success"), (2, "timeout")):
            going.take(Played("base", trial, ended_by, True, "", 0, (), run.staged))
        assert going.base_rate == Rate(1, 2)


def test_faults_are_not_learnt_from_and_too_many_in_a_row_end_the_run(run: RunDirectory) -> None:
    outcomes = ["fault"] * (FAULTS - 1) + ["success"] + ["fault"] * FAULTS
    with adaptation(run, planned=20) as (going, _):
        for number, ended_by in enumerate(outcomes, start=1):
            going.enter()
            going.deal()
            going.take(record(run, "worker-1-a", number, ended_by))
        with pytest.raises(RobotFault, match=f"{FAULTS} episodes in a row .* episode {len(outcomes)} .*: because"):
            going.enter()
    assert run.closed_episodes() == list(range(1, len(outcomes) + 1))
    assert labelled_episodes(run) == [(FAULTS, LabelValue.SUCCESS)]


def test_a_person_may_take_an_episode_out_and_another_one_is_played_for_it(run: RunDirectory) -> None:
    with adaptation(run, planned=2) as (going, store):
        for number in (1, 2):
            going.deal()
            going.take(record(run, "worker-1-a", number))
        going.enter()
        assert going.done
        store.add_label(Label("mine", 1, LabelValue.DISCARD, "ada"))
        going.follow()
        assert going.outcomes == [(2, 1)]
        assert going.deal() == {"kind": "train", "episode": 3, "due": 0}


class Kept:
    """A recorder that keeps the transitions."""

    def __init__(self) -> None:
        self.transitions: list[Transition] = []

    def begin(self, episode: int, adapter_version: int) -> None: ...

    def write(self, topic: str, stamp_ns: int, message: Any) -> None: ...

    def chunk(self, chunk: Any, epoch: int) -> None: ...

    def write_transition(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def end(self, record: Any) -> None: ...


def bits(transition: Transition) -> dict[str, Any]:
    values = {name: getattr(transition, name) for name in transition.__dataclass_fields__}
    return {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in values.items()}
