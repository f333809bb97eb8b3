"""`python -m robot_rl.compositions.store_process RUN`: the one process that writes a run's episodes and labels.

It ends with the run's process, however that ends; an episode that is open then is set aside as incomplete.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from robot_rl.errors import RobotRLError, StoreError
from robot_rl.processes import GRACE_S, begin_service
from robot_rl.services.camera_recorder import CameraRecorder
from robot_rl.services.store import serve_store
from robot_rl.store.run import RunDirectory
from robot_rl.store.store import Store
from robot_rl.task_files import load_task

RETRY_S = 0.1
NICE = 5
"""Behind the robot's loop, which recording must not make late, and before the learner (10)."""


def open_store(run: RunDirectory, cameras: Sequence[str] = (), patience_s: float = GRACE_S) -> Store:
    """The run's store. A process before this one that is just ending may still have it: tries for `patience_s`."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return Store(run, cameras)
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)


def serve(run: RunDirectory, endpoint: str, frames: str | None, stopping: threading.Event) -> None:
    """Until `stopping` is set. Frames that the task's cameras publish on `frames` are recorded too."""
    with ExitStack() as stack:
        store = open_store(
            run, () if frames is None else tuple(load_task(run.task_yaml, begun=True).scene.get("cameras", {}))
        )
        stack.callback(store.close)
        if frames is None:
            serve_store(store, endpoint, stopping)
        else:
            cameras = CameraRecorder(store, frames)
            stack.callback(cameras.close)
            serve_store(store, endpoint, stopping, cameras.take)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 for a run that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m robot_rl.compositions.store_process", description=__doc__)
    parser.add_argument("run", help="the run's directory")
    parser.add_argument("--endpoint", required=True, help="where to serve the store, e.g. ipc:///run/store")
    parser.add_argument("--frames", help="where cameras publish frames to be recorded (default: none are)")
    arguments = parser.parse_args(argv)
    stopping = begin_service()
    os.nice(NICE)
    try:
        serve(RunDirectory.open(arguments.run), arguments.endpoint, arguments.frames, stopping)
    except RobotRLError as error:
        print(f"store: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
