"""Composition (a), real time: the same run by the clock on the wall, a process for each part that may fail alone.

This process is the actor: control loop and session. Its children are the guard with the twin behind it, the store, the
learner, and if a page is wanted the console and the process that draws the cameras. All of them end with it, kill -9
included. Learner, console and cameras are started again when they end; without guard or store the run ends, in order,
and `--resume` goes on with it: what is labelled is on the disk, and a STOP stays latched. A robot's PC without torch
has no learner: what another machine publishes in the run's directory acts, or the frozen policy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from robot_rl.clock import RealClock
from robot_rl.compositions.actor import make_actor
from robot_rl.compositions.adapter_source import NewestAdapters, Versions, await_version
from robot_rl.compositions.disk import DiskWatch
from robot_rl.compositions.golden import require_golden
from robot_rl.compositions.label_watch import LabelWatch
from robot_rl.compositions.operator_page import LatchNotice, OperatorPage
from robot_rl.compositions.plan import RunPlan
from robot_rl.compositions.remote_cell import RemoteCell
from robot_rl.compositions.sockets import socket_folder
from robot_rl.control.actor import Actor
from robot_rl.control.motion import Motion
from robot_rl.control.operator import AutoOperator
from robot_rl.control.session import Session
from robot_rl.errors import DeadlineMissed, ProcessEnded
from robot_rl.processes import Children
from robot_rl.services.guard import GuardClient
from robot_rl.services.session import Served, session_handlers
from robot_rl.services.store import StoreClient
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import first_free_episode

T = TypeVar("T")

START_S = 30.0
"""How long a process may take until it answers for the first time."""
GUARD_S = 2.0
"""How long the guard may take to answer; the robot has been holding long before."""
ENDS = ("store", "guard", "actor", "states", "frames")


def run_realtime(plan: RunPlan, watch: Callable[[Actor], None], announce: Callable[[str], None]) -> None:
    """Run `plan` to its last episode. `watch(actor)` is called every control step, `announce(url)` when a page is up.

    Raises `ProcessEnded`, which says how to go on, when guard or store end, `ConfigError` for a latched STOP or FAULT
    without a page on which a person could clear it, and `SpecMismatch` when policy or adapter have changed.
    """
    run, clock = plan.run, RealClock()
    with ExitStack() as stack:
        sockets = stack.enter_context(socket_folder())
        ends = {name: f"ipc://{sockets}/{name}" for name in ENDS}
        children = Children(run.path / "logs")
        stack.callback(children.stop)
        stack.enter_context(_resumable(children, run))
        storing = [str(run.path), "--endpoint", ends["store"], "--frames", ends["frames"]]
        children.start("store", "robot_rl.compositions.store_process", storing, restart=False)
        store = StoreClient(ends["store"])
        stack.callback(store.close)
        _answered(children, store.episodes)  # a second actor of the same run ends here: nothing has moved yet
        guarding = [str(run.path), "--endpoint", ends["guard"], "--states", ends["states"]]
        children.start("guard", "robot_rl.compositions.guard_process", guarding, restart=False)
        if plan.learner:
            children.start("learner", "robot_rl.learn", [str(run.path)])
        guard = _answered(children, lambda: GuardClient(ends["guard"], GUARD_S, connect_timeout_s=1.0))
        stack.callback(guard.close)
        require_golden(plan, guard.observe)

        versions = Versions(run, plan.policy.spec, plan.method)
        first = first_free_episode(run)
        label_watch = LabelWatch(run)
        stack.callback(label_watch.close)
        session = Session(guard, store, guard.safety, first=first, planned=plan.episodes)
        cell = RemoteCell(guard)
        operator = AutoOperator(session, guard, store, cell, clock) if plan.auto_label else None
        page = None
        if plan.console_port is not None:
            page = OperatorPage(
                children, plan.console_port, actor=ends["actor"], guard=ends["guard"], frames=ends["frames"]
            )
            page.start_cameras(cell.camera_process, run.task_yaml, states=ends["states"], frames=ends["frames"])
        disk = DiskWatch(session, store, clock)
        latch = LatchNotice(session, clearable=page is not None)

        def pump() -> None:
            children.tend()
            if operator is not None:
                disk.poll()
                operator.poll()
            latch.look()
            if page is not None and (url := page.news()):
                announce(url)
            watch(actor)

        def command(name: str, args: Mapping[str, Any], author: str) -> Mapping[str, Any]:
            return session.command(name, args, author, clock.now_ns())

        actor = make_actor(
            plan,
            "real time",
            motion=Motion(guard, session, clock, pump),
            adapters=NewestAdapters(versions),
            store=store,
            guard=guard,
            twin=cell,
            children=children,
            alarms=lambda: [*versions.alarms, *children.troubles],
            labelled=label_watch.newest,
        )
        stack.enter_context(Served(ends["actor"], session_handlers(actor.snapshot, command)))
        actor.run()

        def wait() -> None:
            children.tend()
            watch(actor)

        if plan.learner:
            await_version(versions, pump=wait)


@contextmanager
def _resumable(children: Children, run: RunDirectory) -> Iterator[None]:
    """An end of guard or store is raised as `ProcessEnded`, with the way to go on."""
    try:
        yield
    except (DeadlineMissed, ProcessEnded) as error:
        words = [words for name in ("guard", "store") if (words := children.last_words(name))]
        reason = "\n".join(words) or str(error)
        raise ProcessEnded(
            f"{reason}\nEvery label that was acknowledged is kept; go on with `robot-rl run --resume {run.path}`"
        ) from error


def _answered(children: Children, ask: Callable[[], T]) -> T:
    """What `ask` returns as soon as the process that it asks is up. Raises `ProcessEnded`, or `DeadlineMissed`."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return ask()
        except DeadlineMissed:
            children.tend()
            if time.monotonic() > deadline:
                raise
