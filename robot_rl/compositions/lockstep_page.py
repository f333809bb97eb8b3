"""The operator's page in front of an actor in this process, whose twin's time stands still while it waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from robot_rl.clock import Clock
from robot_rl.compositions.operator_page import OperatorPage, start_cameras
from robot_rl.compositions.sockets import socket_folder
from robot_rl.console.access import Access
from robot_rl.control.actor import Actor
from robot_rl.processes import Children
from robot_rl.safety.guard import Guard
from robot_rl.services.frames import StatePublisher
from robot_rl.services.guard import operator_handlers
from robot_rl.services.session import Served, session_handlers
from robot_rl.twins import TwinRobot


@contextmanager
def lockstep_page(
    children: Children,
    port: int,
    access: Access,
    task_yaml: Path,
    *,
    actor: Actor,
    guard: Guard,
    twin: TwinRobot,
    clock: Clock,
    announce: Callable[[str], None],
) -> Iterator[Callable[[], None]]:
    """Console and cameras as `children`; yields what is to be called every control step.

    `announce(url)` is called once the page is up.
    """
    with ExitStack() as stack:
        sockets = stack.enter_context(socket_folder())
        ends = {name: f"ipc://{sockets}/{name}" for name in ("actor", "guard", "states", "frames")}
        states = StatePublisher(ends["states"])
        stack.callback(states.close)

        def command(name: str, args: Mapping[str, Any], author: str) -> Mapping[str, Any]:
            return actor.session.command(name, args, author, clock.now_ns())

        stack.enter_context(Served(ends["actor"], session_handlers(actor.snapshot, command)))
        stack.enter_context(Served(ends["guard"], operator_handlers(guard)))
        page = OperatorPage(children, port, access, actor=ends["actor"], guard=ends["guard"], frames=ends["frames"])
        start_cameras(children, twin.camera_process, task_yaml, states=ends["states"], frames=ends["frames"])

        def show() -> None:
            states.offer(twin.joint_positions)
            if url := page.news():
                announce(url)

        yield show
