"""Composition (a), real time: the same run by the clock on the wall, a process for each part that may fail alone.

This process is the actor: control loop and session. Its children are the guard with the twin behind it, the store, the
learner, if a page is wanted the console, and the process that draws the cameras if page or policy look at them. All of
them end with it, kill -9 included. Learner, console and cameras are started again when they end; without guard or store
the run ends, in order, and `--resume` goes on with it: what is labelled is on the disk, and a STOP stays latched. A
robot's PC without torch has no learner: what another machine publishes in the run's directory acts, or the frozen
policy. No episode begins before the cameras have shown something (`services.sight`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from robot_rl.compositions.operator_page import OperatorPage, start_cameras
from robot_rl.compositions.plan import RunPlan
from robot_rl.compositions.realtime_actor import GUARD_S, Others, act, answered
from robot_rl.compositions.remote_cell import RemoteCell
from robot_rl.compositions.sockets import socket_folder
from robot_rl.control.actor import Actor
from robot_rl.errors import DeadlineMissed, ProcessEnded
from robot_rl.processes import Children
from robot_rl.services.guard import GuardClient
from robot_rl.services.sight import cameras_of
from robot_rl.services.store import StoreClient

log = logging.getLogger(__name__)

ENDS = ("store", "guard", "actor", "states", "frames")


def run_realtime(plan: RunPlan, watch: Callable[[Actor], None], announce: Callable[[str], None]) -> None:
    """Run `plan` to its last episode. `watch(actor)` is called every control step, `announce(url)` when a page is up.

    Raises `ProcessEnded`, which says how to go on, when guard or store end, `ConfigError` for a latched STOP or FAULT
    without a page on which a person could clear it, and `SpecMismatch` when policy or adapter have changed.
    """
    run = plan.run
    with ExitStack() as stack:
        sockets = stack.enter_context(socket_folder())
        ends = {name: f"ipc://{sockets}/{name}" for name in ENDS}
        children = Children(run.path / "logs")
        stack.callback(children.stop)
        stack.enter_context(resumable(children, ("guard", "store"), f"robot-rl run --resume {run.path}"))
        storing = [str(run.path), "--endpoint", ends["store"]]
        acted_on = bool(cameras_of(plan.policy.spec))
        looked_at = acted_on or plan.console_port is not None
        if looked_at:
            storing += ["--frames", ends["frames"]]
        children.start("store", "robot_rl.compositions.store_process", storing, restart=False)
        store = StoreClient(ends["store"])
        stack.callback(store.close)
        answered(store.episodes, children.tend)  # a second actor of the same run ends here: nothing has moved yet
        guarding = [str(run.path), "--endpoint", ends["guard"], "--states", ends["states"]]
        children.start("guard", "robot_rl.compositions.guard_process", guarding, restart=False)
        if plan.learner:
            children.start("learner", "robot_rl.learn", [str(run.path)])
        guard = answered(lambda: GuardClient(ends["guard"], GUARD_S, connect_timeout_s=1.0), children.tend)
        stack.callback(guard.close)
        page = None
        if plan.console_port is not None:
            page = OperatorPage(
                children,
                plan.console_port,
                plan.access,
                actor=ends["actor"],
                guard=ends["guard"],
                frames=ends["frames"],
                run=run.path,
            )
        if looked_at:
            module, ours = RemoteCell(guard).camera_process, {name: ends[name] for name in ("states", "frames")}
            start_cameras(children, module, run.task_yaml, **ours, acted_on=acted_on)

        def tend() -> None:
            children.tend()
            if page is not None and (url := page.news()):
                announce(url)

        others = Others(tend, lambda: children.alive("learner"), lambda: children.troubles)
        act(plan, guard, store, ends["actor"], others, watch, frames=ends["frames"] if looked_at else None)


@contextmanager
def resumable(children: Children, vital: Sequence[str], how: str) -> Iterator[None]:
    """The end of a `vital` child is raised as `ProcessEnded`, with its last words and the command that goes on."""
    try:
        yield
    except (DeadlineMissed, ProcessEnded) as error:
        words = [words for name in vital if (words := children.last_words(name))]
        reason = "\n".join(words) or str(error)
        # At once: to end the others may take as long as `GRACE_S`, and nobody shall take a robot that holds for a run.
        log.error("%s: the robot holds, and the run ends", reason.splitlines()[0])
        raise ProcessEnded(f"{reason}\nEvery label that was acknowledged is kept; go on with `{how}`") from error
