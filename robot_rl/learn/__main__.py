"""`python -m robot_rl.learn RUN`: the learner's process. Niced, on one thread; it ends with its parent."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # both before torch is imported: threads that spin starve the robot

NICE = 10


def main(argv: Sequence[str] | None = None, active: Callable[[], bool] = lambda: True) -> int:
    """Learn until SIGTERM or SIGINT, but rest while not `active()`; 2 for a run that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m robot_rl.learn", description=__doc__)
    parser.add_argument("run", help="the run's directory")
    parser.add_argument("--ordered", action="store_true", help="one labelled episode at a time (lockstep)")
    arguments = parser.parse_args(argv)

    from robot_rl.errors import RobotRLError
    from robot_rl.learn.device import use_one_thread
    from robot_rl.learn.memory import keep_memory
    from robot_rl.learn.process import LearnerService
    from robot_rl.processes import begin_service
    from robot_rl.store.run import RunDirectory
    from robot_rl.task_files import load_task

    stopping = begin_service()
    os.nice(NICE)
    use_one_thread()
    keep_memory()
    try:
        run = RunDirectory.open(arguments.run)
        service = LearnerService(run, load_task(run.task_yaml, begun=True), ordered=arguments.ordered)
    except RobotRLError as error:
        print(f"learner: {error}", file=sys.stderr)
        return 2
    try:
        service.serve(stopping, active)
    finally:
        service.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
