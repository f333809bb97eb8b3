"""Composition (a), lockstep: one command against the fast twin.

In this process: twin, guard, control loop, session, store. Beside it: the learner, and if a page is wanted the console
and the process that draws the cameras. The simulated clock waits for everyone, so that the same seed gives the same
run, bit for bit; wall time decides only how fast it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from robot_rl.clock import SteppedClock
from robot_rl.compositions.actor import make_actor
from robot_rl.compositions.adapter_source import LockstepAdapters, Versions, await_version
from robot_rl.compositions.disk import DiskWatch
from robot_rl.compositions.golden import require_golden
from robot_rl.compositions.label_watch import LabelWatch
from robot_rl.compositions.lockstep_page import lockstep_page
from robot_rl.compositions.operator_page import LatchNotice
from robot_rl.compositions.plan import RunPlan
from robot_rl.control.actor import Actor
from robot_rl.control.motion import Motion
from robot_rl.control.operator import AutoOperator
from robot_rl.control.session import Session
from robot_rl.errors import ConfigError
from robot_rl.processes import Children
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.store.store import Store
from robot_rl.store.training import first_free_episode
from robot_rl.twins import Cell, load_twin

Watch = Callable[[Actor], None]


def run_lockstep(plan: RunPlan, watch: Watch, announce: Callable[[str], None]) -> None:
    """Run `plan` to its last episode. `watch(actor)` is called every control step, `announce(url)` for a page."""
    if not plan.auto_label:
        raise ConfigError("in lockstep the twin outruns a person: --label human needs --pace real-time")
    run, task = plan.run, plan.task
    clock = SteppedClock()
    twin = load_twin(task, plan.info.world, clock)
    cell = Cell(twin, plan.info.seed)
    guard = Guard(twin, Limits.of(task.limits, twin.spec.action_space), task.guard, clock, run.guard_json)
    with ExitStack() as stack:
        store = Store(run)
        stack.callback(store.close)
        require_golden(plan, guard.observe)
        children = Children(run.path / "logs")
        stack.callback(children.stop)
        versions = Versions(run, plan.policy.spec, plan.method)
        first = first_free_episode(run)
        label_watch = LabelWatch(run)
        stack.callback(label_watch.close)
        session = Session(guard, store, guard.safety, first=first, planned=plan.episodes)
        operator = AutoOperator(session, guard, store, cell, clock)
        disk = DiskWatch(session, store, clock)
        latch = LatchNotice(session, clearable=plan.console_port is not None)

        def pump() -> None:
            children.tend()
            disk.poll()
            operator.poll()
            latch.look()
            show()
            watch(actor)

        actor = make_actor(
            plan,
            "lockstep",
            motion=Motion(guard, session, clock, pump),
            adapters=LockstepAdapters(versions),
            store=store,
            guard=guard,
            twin=cell,
            learner_alive=lambda: children.alive("learner"),
            alarms=lambda: [*versions.alarms, *children.troubles],
            labelled=label_watch.newest,
        )
        children.start("learner", "robot_rl.learn", [str(run.path), "--ordered"])
        show: Callable[[], None] = _nothing
        if plan.console_port is not None:
            show = stack.enter_context(
                lockstep_page(
                    children, plan.console_port, plan.access, run.task_yaml,
                    actor=actor, guard=guard, twin=twin, clock=clock, announce=announce,
                )
            )  # fmt: skip

        actor.run()

        def wait() -> None:
            children.tend()
            watch(actor)

        await_version(versions, pump=wait)


def _nothing() -> None:
    """Without a page there is nothing to show."""
