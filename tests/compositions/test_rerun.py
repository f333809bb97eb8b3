"""Reruns: in the same world nothing differs, whatever the episode met; in another one it is said where and how far."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.compositions.rerun import Comparison, Step, read_steps, refused_ns, rerun, rerun_and_show
from robot_rl.control.actor import Actor
from robot_rl.errors import ConfigError, IntegrityError, StoreError
from robot_rl.policy.flow import FlowPolicy
from robot_rl.store.episode import EpisodeWriter, read_manifest, read_messages
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import load_task
from robot_rl.types import Array, Context, Observation, Verdict
from tests.ordinary_user import read_only
from tests.small_task import write_small_task
from tests.store.examples import SUCCESS, header

EPISODES = 2
WILD = (1, 4)
"""Decoded chunks that the filter refuses as a whole; chunk 0 is the golden observation's, before the run arms."""


class Wild:
    """The policy, but some of its chunks leap."""

    def __init__(self, policy: FlowPolicy) -> None:
        self._policy, self.spec, self._count = policy, policy.spec, -1

    def encode(self, observations: Sequence[Observation]) -> Context:
        return self._policy.encode(observations)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        self._count += 1
        chunks = self._policy.decode(context, noise, latent)
        return chunks + 1.0 if self._count in WILD else chunks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """An episode that is held now and then, and a quiet one."""
    folder = tmp_path_factory.mktemp("rerun")
    new_run(folder / "run", str(write_small_task(folder)), "usr", 3, {})
    directory, info, task, policy = open_run(folder / "run")
    plan = RunPlan(directory, info, task, Wild(policy), EPISODES, auto_label=True, console_port=None)
    paused: list[int] = []

    def watch(actor: Actor) -> None:
        """The operator pauses in the middle of a chunk."""
        if actor.snapshot()["step"] == 19 and not paused:
            actor.session.command("pause", {}, "test", 0)
            paused.append(1)
        elif actor.session.paused:
            paused.append(1)
            if len(paused) == 4:
                actor.session.command("run", {}, "test", 0)

    run_lockstep(plan, watch, lambda url: None)
    return directory


def compare(run: RunDirectory, episode: int, world: str = "twin", **changes: Any) -> Comparison:
    """`changes` are made to the tenth recorded step."""
    folder = run.episode(episode)
    recorded = read_steps(folder)
    recorded[9] = replace(recorded[9], **changes)
    task = load_task(run.task_yaml)
    return rerun(task, read_manifest(folder).header, recorded, world, refused_ns(folder, recorded))


def test_the_episodes_met_what_a_rerun_must_get_right(run: RunDirectory) -> None:
    folder = run.episode(1)
    steps = read_steps(folder)
    assert refused_ns(folder, steps) is not None, "the first chunk was refused"
    assert len(read_messages(folder, "/rejected")) == len(WILD)
    gaps = np.diff([step.stamp_ns for step in steps]) // 50_000_000
    assert sorted(set(gaps)) != [1], "there were control periods without a command"
    assert {step.verdict for step in steps} >= {Verdict.PASS}


@pytest.mark.parametrize("episode", range(1, EPISODES + 1))
def test_in_the_same_world_nothing_differs_in_any_bit(run: RunDirectory, episode: int) -> None:
    compared = compare(run, episode)
    assert compared.departs is None
    assert not compared.distance_mm.any()
    assert compared.success == (read_manifest(run.episode(episode)).outcome.ended_by == "success")


def test_where_nothing_differs_table_and_json_say_never(run: RunDirectory) -> None:
    text = io.StringIO()
    rerun_and_show(run.episode(2), "twin", Console(file=text, width=120))
    results = json.loads(text.getvalue().splitlines()[-1])
    assert (results["departs_at_step"], results["largest_at_step"], results["largest_mm"]) == (None, None, 0.0)
    assert text.getvalue().count("never") == 4


def test_a_run_that_cannot_be_written_is_rerun_and_what_is_not_kept_is_said(run: RunDirectory) -> None:
    text = io.StringIO()
    with read_only(run.path):
        rerun_and_show(run.episode(1), "twin", Console(file=text, width=120))
    assert json.loads(text.getvalue().splitlines()[-1])["identical"] is True
    assert "picture and results are not kept beside the run" in text.getvalue()


def test_another_command_departs_where_it_is_sent(run: RunDirectory) -> None:
    step = read_steps(run.episode(2))[9]
    compared = compare(run, 2, target=np.add(step.target, [0.002, 0.0, 0.0, 0.0]))
    assert compared.departs == 10
    assert compared.distance_mm[9:].max() > 0.5


def test_another_record_departs_by_as_much(run: RunDirectory) -> None:
    pose = read_steps(run.episode(2))[9].tcp_pose + np.array([0, 0, 0.002, 0, 0, 0, 0])
    compared = compare(run, 2, tcp_pose=pose)
    assert compared.departs == compared.beyond(1.0) == 10
    assert compared.beyond(5.0) is None
    assert compared.distance_mm[9] == pytest.approx(2.0)
    assert np.count_nonzero(compared.distance_mm) == 1


@pytest.mark.parametrize("change", [{"verdict": Verdict.CLIPPED}, {"sent": np.zeros(4)}, {"joints": np.zeros(8)}])
def test_nothing_of_a_step_may_differ(run: RunDirectory, change: dict[str, Any]) -> None:
    assert compare(run, 2, **change).departs == 10


def test_a_held_step_is_held_again(run: RunDirectory) -> None:
    """Not sent, whatever its target was: the arm stands."""
    compared = compare(run, 2, verdict=Verdict.HELD)
    assert compared.rerun[9].verdict is Verdict.HELD
    assert not compared.rerun[9].sent[:3].any()


def test_the_perturbed_world_departs_and_table_picture_and_json_say_so(run: RunDirectory) -> None:
    text = io.StringIO()
    rerun_and_show(run.episode(2), "real", Console(file=text, width=120))
    results = json.loads(text.getvalue().splitlines()[-1])
    assert not results["identical"]
    assert results["departs_at_step"] == 1
    assert results["largest_mm"] >= results["final_mm"] > 1.0
    assert "first beyond 5 mm" in text.getvalue()
    assert (run.results / "rerun-000002-real.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((run.results / "rerun-000002-real.json").read_text()) == results
    with pytest.raises(ConfigError, match="did you mean 'real'"):
        rerun_and_show(run.episode(2), "reel", Console(file=text))


def test_an_episode_without_commands_is_refused(tmp_path: Path) -> None:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    directory = RunDirectory.open(tmp_path / "run")
    LabelLog(directory.labels).close()
    EpisodeWriter(directory, header(1)).close(SUCCESS)
    taken = EpisodeWriter(directory, header(2))
    taken.write("/origin", 0, {"run": "/runs/old", "episode": 7})
    taken.close(SUCCESS)
    foreign = EpisodeWriter(directory, header(3))
    foreign.write("/steps", 0, {"target": "up"})
    foreign.close(SUCCESS)
    refused: list[tuple[int, type[StoreError], str]] = [
        (1, StoreError, "no recorded commands$"),
        (2, StoreError, "it was taken over from episode 7 of /runs/old: rerun that"),
        (3, IntegrityError, "no control step"),
        (4, StoreError, "there is none"),
    ]
    for episode, error, words in refused:
        with pytest.raises(error, match=words):
            rerun_and_show(directory.episode(episode), "twin", Console(file=io.StringIO()))


def test_steps_are_the_same_only_bit_for_bit() -> None:
    step = Step(1, np.zeros(4), np.zeros(4), Verdict.PASS, np.zeros(7), np.zeros(8))
    assert step.same(replace(step, stamp_ns=2))
    assert not step.same(replace(step, tcp_pose=np.full(7, 1e-18)))
