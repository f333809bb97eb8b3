"""Evaluation in the twin: the frozen policy and an adapter on the same starts, none of which was trained on.

The same actor, guard and session as in a run, with the automatic operator, in lockstep where nothing else is said;
nothing is recorded. An
adapter is judged by its mode (no exploration noise), the frozen policy as it is: with w ~ N(0, I).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.adapters.acting import BaseAdapter
from robot_rl.adapters.layout import SteeringLayout
from robot_rl.clock import Clock, SteppedClock
from robot_rl.compositions.operator_page import LatchNotice
from robot_rl.compositions.recording import Scratch
from robot_rl.compositions.results import Rate
from robot_rl.config import TaskConfig
from robot_rl.control.actor import Actor, RunView
from robot_rl.control.motion import Motion
from robot_rl.control.operator import AutoOperator
from robot_rl.control.session import Session
from robot_rl.protocols import Adapter, FrozenPolicy
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.twins import Cell, Split, TwinRobot, load_twin
from robot_rl.types import Context, LabelValue, Steering

Progress = Callable[[int], None]
Page = Callable[[Actor, Guard], AbstractContextManager[Callable[[], None]]]
"""Opens the operator's page; what comes of it is called every control step."""


@contextmanager
def no_page(actor: Actor, guard: Guard) -> Iterator[Callable[[], None]]:
    """Nobody looks."""
    yield lambda: None


@dataclass(frozen=True)
class Fixed:
    """An adapter source that always gives the same version."""

    adapter: Adapter

    def next(self, episode: int) -> Adapter:
        return self.adapter


@dataclass(frozen=True)
class Witness:
    """An adapter that remembers what it was asked about."""

    adapter: Adapter
    contexts: list[Context] = field(default_factory=list)

    @property
    def version(self) -> int:
        return self.adapter.version

    def steer(
        self, context: Context, rng: np.random.Generator, *, explore: bool, previous: Steering | None = None
    ) -> Steering:
        self.contexts.append(context)
        return self.adapter.steer(context, rng, explore=explore, previous=previous)


def frozen(policy: FrozenPolicy) -> BaseAdapter:
    """The policy as it is, its full noise drawn from N(0, I)."""
    return BaseAdapter(SteeringLayout.plain(policy.spec))


def evaluate(
    task: TaskConfig,
    method: str,
    policy: FrozenPolicy,
    adapter: Adapter,
    *,
    trials: int,
    seed: int,
    split: Split = Split.EVALUATE,
    world: str = "twin",
    progress: Progress = lambda done: None,
) -> Rate:
    """Success of `adapter` on `policy` in `trials` episodes of stream (split, seed)."""
    return Rate(sum(outcomes(task, method, policy, adapter, trials, seed, split, world, progress)), trials)


def outcomes(
    task: TaskConfig,
    method: str,
    policy: FrozenPolicy,
    adapter: Adapter,
    trials: int,
    seed: int,
    split: Split = Split.EVALUATE,
    world: str = "twin",
    progress: Progress = lambda done: None,
) -> list[int]:
    """0 or 1 per trial, in the order of the starts: two adapters' lists can be compared pair by pair.

    A trial that ended as a fault (chunk after chunk refused by the filter) is asked for no label and counts as 0.
    """
    clock = SteppedClock()
    twin = load_twin(task, world, clock)
    return outcomes_in(twin, clock, task, method, policy, adapter, trials, seed, split, progress)


def outcomes_in(
    twin: TwinRobot,
    clock: Clock,
    task: TaskConfig,
    method: str,
    policy: FrozenPolicy,
    adapter: Adapter,
    trials: int,
    seed: int,
    split: Split = Split.EVALUATE,
    progress: Progress = lambda done: None,
    cell: Cell | None = None,
    view: RunView | None = None,
    page: Page = no_page,
) -> list[int]:
    """The same in a `twin` that is there, at the pace of its `clock`; `cell` in place of the twin with random starts.

    `page` opens the operator's page in front of the actor, and `view` is what it shows.
    """
    scratch = Scratch()
    guard = Guard(twin, Limits.of(task.limits, twin.spec.action_space), task.guard, clock)
    session = Session(guard, scratch, guard.safety, first=1, planned=trials, cut_off_counts=True)
    cell = cell or Cell(twin, seed, split)
    operator = AutoOperator(session, guard, scratch, cell, clock)
    done = 0

    latch = LatchNotice(session, clearable=page is not no_page)
    watching: list[Callable[[], None]] = []

    def fail_the_unjudged() -> None:
        """A session wants as many labels as trials: without this, another trial would stand in for a faulted one."""
        for row in scratch.rows[-1:]:
            if row.episode < session.episode and row.episode not in scratch.labels:
                args = {"episode": row.episode, "value": "failure", "event_id": f"unjudged-{row.episode}"}
                session.command("label", args | {"expected_revision": 0}, "evaluation", clock.now_ns())

    def pump() -> None:
        nonlocal done
        operator.poll()
        fail_the_unjudged()
        latch.look()
        for look in watching:
            look()
        if len(scratch.labels) != done:
            done = len(scratch.labels)
            progress(done)

    motion = Motion(guard, session, clock, pump)
    pace = "lockstep" if isinstance(clock, SteppedClock) else "real time"
    source: Any = Fixed(adapter)
    actor = Actor(
        task, method, seed, motion, policy, source, scratch, scratch, guard,
        view or RunView(run="evaluation", pace=pace, auto_label=True), cell,
        explore=adapter.version == 0, faults_in_a_row=None,
    )  # fmt: skip
    with page(actor, guard) as look:
        watching.append(look)
        actor.run()
    won = {episode for episode, event in scratch.labels.items() if event.label.value is LabelValue.SUCCESS}
    return [int(trial in won) for trial in range(1, trials + 1)]
