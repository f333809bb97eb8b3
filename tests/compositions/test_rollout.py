"""An episode that is played alone is the one that a run plays, and depends on nothing that was played before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from robot_rl.clock import SteppedClock
from robot_rl.compositions.evaluate import Fixed, frozen
from robot_rl.compositions.plan import Material, material_of
from robot_rl.compositions.recording import Scratch
from robot_rl.compositions.rollout import Stage, verdict
from robot_rl.control.actor import Actor, RunView
from robot_rl.control.motion import Motion
from robot_rl.control.operator import AutoOperator
from robot_rl.control.ports import EpisodeRecord
from robot_rl.control.session import Session
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.twins import Cell, Split, load_twin
from robot_rl.types import ActionChunk, LabelValue, Transition
from tests.small_task import write_small_task

SEED = 3


@dataclass
class Notes:
    """A recorder that keeps everything."""

    begun: list[tuple[int, int]] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    records: list[EpisodeRecord] = field(default_factory=list)

    def begin(self, episode: int, adapter_version: int) -> None:
        self.begun.append((episode, adapter_version))

    def write(self, topic: str, stamp_ns: int, message: Mapping[str, Any]) -> None:
        self.topics.append(topic)

    def chunk(self, chunk: ActionChunk, epoch: int) -> None:
        pass

    def write_transition(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def end(self, record: EpisodeRecord) -> None:
        self.records.append(record)

    @property
    def bits(self) -> list[dict[str, Any]]:
        """All numbers of the transitions."""
        return [
            {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in vars_of(t).items()}
            for t in self.transitions
        ]


def vars_of(transition: Transition) -> dict[str, Any]:
    return {name: getattr(transition, name) for name in transition.__dataclass_fields__}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return material_of(str(write_small_task(tmp_path_factory.mktemp("rollout"))))


@pytest.fixture(scope="module")
def stage(material: Material) -> Stage:
    clock = SteppedClock()
    return Stage(material.task, "usr", material.policy, load_twin(material.task, "twin", clock), clock)


def in_a_run(stage: Stage, episodes: int) -> Notes:
    """What the actor records of the first episodes."""
    notes, scratch, cell = Notes(), Scratch(), Cell(stage.twin, SEED)
    limits = Limits.of(stage.task.limits, stage.twin.spec.action_space)
    guard = Guard(stage.twin, limits, stage.task.guard, stage.clock)
    session = Session(guard, scratch, guard.safety, first=1, planned=episodes)
    operator = AutoOperator(session, guard, scratch, cell, stage.clock)
    ended: Any = notes.end

    def end(record: EpisodeRecord) -> None:
        ended(record)
        scratch.begin(notes.begun[-1][0], 0)
        scratch.end(record)

    notes.end = end  # type: ignore[method-assign]
    motion = Motion(guard, session, stage.clock, operator.poll)
    source: Any = Fixed(frozen(stage.policy))
    Actor(
        stage.task, stage.method, SEED, motion, stage.policy, source, notes, scratch, guard, RunView("run", "lockstep"),
        cell,
    ).run()  # fmt: skip
    return notes


def alone(stage: Stage, *episodes: int) -> Notes:
    notes = Notes()
    for episode in episodes:
        stage.play(episode, frozen(stage.policy), notes, seed=SEED)
    return notes


def test_it_is_what_a_run_plays_bit_for_bit(stage: Stage) -> None:
    run, played = in_a_run(stage, 3), alone(stage, 1, 2, 3)
    assert played.begun == run.begun == [(1, 0), (2, 0), (3, 0)]
    assert played.bits == run.bits
    assert played.records == run.records
    assert played.topics == run.topics


def test_what_was_played_before_does_not_matter(stage: Stage) -> None:
    there = alone(stage, 4)
    assert alone(stage, 7, 2, 4).bits[-len(there.bits) :] == there.bits


def test_other_splits_and_seeds_are_other_episodes(stage: Stage) -> None:
    first = alone(stage, 4).bits[0]["features"]
    for changed in ({"split": Split.SELECT}, {"seed": SEED + 1}):
        notes = Notes()
        stage.play(4, frozen(stage.policy), notes, **{"seed": SEED, **changed})  # type: ignore[arg-type]
        assert notes.bits[0]["features"] != first


@pytest.mark.parametrize(
    ("ended_by", "complete", "value"),
    [
        ("success", True, LabelValue.SUCCESS), ("failure", True, LabelValue.FAILURE),
        ("timeout", True, LabelValue.FAILURE), ("fault", False, None), ("fault", True, None), ("success", False, None),
    ],
)  # fmt: skip
def test_a_verdict_is_what_the_automatic_operator_would_say(
    ended_by: str, complete: bool, value: LabelValue | None
) -> None:
    assert verdict(ended_by, complete) is value
