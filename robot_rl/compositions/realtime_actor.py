"""The actor in front of a guard and a store in other processes: control loop and session.

The same whoever starts the processes: `robot-rl run`, whose own process this then is, or a ROS 2 launch. That one can
go in lockstep too, by a simulated clock that the guard's process has and all others follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from robot_rl.clock import Clock, FollowedClock, RealClock
from robot_rl.compositions.actor import make_actor
from robot_rl.compositions.adapter_source import LockstepAdapters, NewestAdapters, Versions, await_version
from robot_rl.compositions.disk import DiskWatch
from robot_rl.compositions.golden import require_golden
from robot_rl.compositions.label_watch import LabelWatch
from robot_rl.compositions.operator_page import LatchNotice
from robot_rl.compositions.plan import RunPlan
from robot_rl.compositions.remote_cell import RemoteCell
from robot_rl.control.actor import Actor
from robot_rl.control.motion import Motion
from robot_rl.control.operator import AutoOperator
from robot_rl.control.ports import AdapterSource, PatientPolicy, Recorder
from robot_rl.control.session import Session
from robot_rl.errors import BadObservation, DeadlineMissed, RobotRLError
from robot_rl.services.guard import GuardClient
from robot_rl.services.session import Served, session_handlers
from robot_rl.services.sight import FirstFrames, SeeingPort, Sight, cameras_of
from robot_rl.services.store import StoreClient
from robot_rl.store.training import first_free_episode

T = TypeVar("T")

START_S = 30.0
"""How long a process may take until it answers for the first time."""
RETRY_S = 0.02
OFF = "off"
"""Of the run's setting `overlap`."""
GUARD_S = 2.0
"""How long the guard may take to answer; the robot has been holding long before."""


@dataclass(frozen=True)
class Pace:
    """By whose time an actor acts, and with which adapters."""

    words: str
    """As the page has it."""
    clock: Clock
    adapters: Callable[[Versions], AdapterSource]
    overlaps: bool
    """A chunk may be inferred while the one before it runs."""


BY_THE_WALL = Pace("real time", RealClock(), NewestAdapters, overlaps=True)


def following(clock: FollowedClock) -> Pace:
    """In lockstep with the guard's simulated time, as `clock` is told it; the learner is to take episodes in order."""
    return Pace("lockstep", clock, LockstepAdapters, overlaps=False)


@dataclass(frozen=True)
class Others:
    """What the actor is told of the run's other processes."""

    tend: Callable[[], None]
    """Looks after them between any two control steps; ends the run by raising."""
    learner_alive: Callable[[], bool]
    troubles: Callable[[], Sequence[str]] = lambda: ()
    """What to tell the operator of them."""


def act(
    plan: RunPlan,
    guard: GuardClient,
    store: StoreClient,
    endpoint: str,
    others: Others,
    watch: Callable[[Actor], None],
    recorder: Recorder | None = None,
    frames: str | None = None,
    pace: Pace = BY_THE_WALL,
) -> None:
    """Run `plan` to its last episode, and serve the page's calls on `endpoint`; guard and store answer already.

    `watch(actor)` is called every control step; `recorder` keeps the episodes in the store's place; on `frames` the
    task's cameras publish (None: there are none). Raises `ConfigError` for a latched STOP or FAULT without a page on
    which a person could clear it, `SpecMismatch` when policy or adapter have changed, and `DeadlineMissed` when a
    camera that the policy reads shows nothing.
    """
    run, clock = plan.run, pace.clock
    with ExitStack() as stack:
        sight = Sight(
            frames, list(plan.task.scene.get("cameras", {})) if frames else (), cameras_of(plan.policy.spec),
            plan.task.guard.observation_ms, clock,
        )  # fmt: skip
        stack.callback(sight.close)
        port = SeeingPort(guard, sight)
        sight.await_wanted(START_S, others.tend)
        answered(lambda: require_golden(plan, port.observe), others.tend, BadObservation)  # a frame may be too old
        first_frames = FirstFrames(sight, START_S)
        versions = Versions(run, plan.policy.spec, plan.method)
        label_watch = LabelWatch(run)
        stack.callback(label_watch.close)
        session = Session(guard, store, guard.safety, first=first_free_episode(run), planned=plan.episodes)
        cell = RemoteCell(guard)
        operator = AutoOperator(session, guard, store, cell, clock) if plan.auto_label else None
        disk = DiskWatch(session, store, clock)
        latch = LatchNotice(session, clearable=plan.console_port is not None)

        def pump() -> None:
            others.tend()
            sight.take()
            if operator is not None:
                disk.poll()
                operator.poll()
            latch.look()
            watch(actor)

        def command(name: str, args: Mapping[str, Any], author: str) -> Mapping[str, Any]:
            return session.command(name, args, author, clock.now_ns())

        actor = make_actor(
            plan,
            pace.words,
            motion=Motion(port, session, clock, pump),
            adapters=pace.adapters(versions),
            store=store,
            guard=guard,
            twin=cell,
            learner_alive=others.learner_alive,
            alarms=lambda: [*versions.alarms, *others.troubles(), *first_frames.alarms],
            labelled=label_watch.newest,
            recorder=recorder,
            not_yet=first_frames,
            overlap=pace.overlaps and overlaps(plan),
        )
        stack.enter_context(Served(endpoint, session_handlers(actor.snapshot, command)))
        actor.run()
        watch(actor)  # that it is finished: no control step follows which would say so

        def wait() -> None:
            others.tend()
            watch(actor)

        if plan.learner:
            await_version(versions, pump=wait)


def overlaps(plan: RunPlan) -> bool:
    """Whether a chunk is inferred while the one before it runs: where the policy is a server's, unless it is off."""
    return isinstance(plan.policy, PatientPolicy) and plan.info.arguments.get("overlap") != OFF


def answered(ask: Callable[[], T], tend: Callable[[], None], passing: type[RobotRLError] = DeadlineMissed) -> T:
    """What `ask` returns as soon as the process that it asks is up. Raises what `tend` does, or at last `passing`."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return ask()
        except passing:
            tend()
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
