"""`python -m robot_rl.compositions.guard_process RUN`: the guard of a run, and the twin behind it, in one process.

It ends with the run's process, however that ends; the robot holds first.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence

from robot_rl.clock import Clock, RealClock, SteppedClock
from robot_rl.compositions.remote_cell import cell_handlers
from robot_rl.errors import RobotRLError
from robot_rl.processes import begin_service
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.services.frames import StatePublisher
from robot_rl.services.guard import serve_guard
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import load_task
from robot_rl.twins import TWIN, Cell, load_twin

PRIORITY = -10
"""Niceness of what moves the robot, where it may be chosen."""


def serve(
    run: RunDirectory,
    endpoint: str,
    states_endpoint: str,
    stopping: threading.Event,
    begun: Callable[[Guard], Callable[[], None]] = lambda guard: lambda: None,
    clock: Clock | None = None,
) -> None:
    """Until `stopping` is set. What was latched in the run's guard.json is latched from the start.

    `begun` is given the guard, and returns what its control thread does after each control period. By a stepped `clock`
    (lockstep) an episode begins with the arm anew; None: the clock on the wall. This thread and those that it starts go
    before others from now on, where they may.
    """
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(PRIORITY, os.getpriority(os.PRIO_PROCESS, 0)))
    task, info, clock = load_task(run.task_yaml, begun=True), run.read_info(), clock or RealClock()
    twin = load_twin(task, info.world, clock, str(info.arguments.get("hw") or TWIN))
    with contextlib.ExitStack() as stack:
        stack.callback(twin.close)
        cell = Cell(twin, info.seed, whole=isinstance(clock, SteppedClock))
        guard = Guard(twin, Limits.of(task.limits, twin.spec.action_space), task.guard, clock, run.guard_json)
        states = StatePublisher(states_endpoint)
        stack.callback(states.close)
        show = begun(guard)

        def after_period() -> None:
            states.offer(twin.joint_positions)
            show()

        serve_guard(
            guard,
            endpoint,
            stopping,
            clock=clock,
            calls=cell_handlers(cell),
            after_period=after_period,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 for a run that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m robot_rl.compositions.guard_process", description=__doc__)
    parser.add_argument("run", help="the run's directory")
    parser.add_argument("--endpoint", required=True, help="where to serve the guard, e.g. ipc:///run/guard")
    parser.add_argument("--states", required=True, help="where to publish the twin's joint positions for its cameras")
    arguments = parser.parse_args(argv)
    stopping = begin_service()
    try:
        serve(RunDirectory.open(arguments.run), arguments.endpoint, arguments.states, stopping)
    except RobotRLError as error:
        print(f"guard: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
