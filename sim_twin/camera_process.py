"""`python -m sim_twin.camera_process`: renders the twin's cameras beside the robot, as fast as the machine allows.

It follows the joint positions that the robot's process publishes and publishes JPEG frames, one camera after the
other; niced, so that pictures never take time from the control loop, unless a policy acts on them: on a machine that is
busy with anything else it would see nothing that is fresh. A frame carries the stamp of the state it shows, and the
number of its camera's frame, so that whoever records can tell that one is missing.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from robot_rl.processes import end_with_parent
from robot_rl.services.frames import FRAME_BACKLOG, newest_state
from robot_rl.task_files import load_task
from robot_rl.wire.latest import Latest, Publisher
from sim_twin.cameras import SceneRenderer
from sim_twin.config import parse_scene
from sim_twin.scene import build_scene

LIVE = {"quality": 80}
"""What JPEG keeps for people: 96 x 96 pixels in 2 kB."""
ACTED_ON = {"quality": 95, "subsampling": 0}
"""For a policy, cloned from pictures without loss: 4.5 kB, and colours off by 1 of 255 in the mean instead of 3."""
NICE = 10
"""As the learner: at 15 a busy machine drew no picture at all, for whole runs."""
IDLE_MS = 200.0


def render_loop(
    renderer: SceneRenderer,
    cameras: Sequence[str],
    states: Latest,
    frames: Publisher,
    rate_hz: float,
    compression: Mapping[str, int] = LIVE,
) -> None:
    """Until terminated: wait for a newer state, render every camera once, publish."""
    shown = -1
    frame = 0
    due = 0.0
    while True:
        state = newest_state(states, IDLE_MS)
        if state is None or state[0] == shown:
            continue
        shown, stamp_ns, qpos = state
        for name in cameras:
            jpeg = io.BytesIO()
            Image.fromarray(renderer.render(name, qpos)).save(jpeg, "JPEG", **compression)
            frames.publish(name, {"seq": shown, "frame": frame, "stamp_ns": stamp_ns}, jpeg.getvalue())
        frame += 1
        due = max(due + 1 / rate_hz, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def main(argv: Sequence[str] | None = None) -> int:
    """Render until a signal comes or the parent ends."""
    parser = argparse.ArgumentParser(prog="python -m sim_twin.camera_process", description=__doc__)
    parser.add_argument("--task", required=True, type=Path, help="task file (.yaml)")
    parser.add_argument("--world", default="twin", help="which of the task's worlds (default: %(default)s)")
    parser.add_argument(
        "--states", required=True, help="endpoint of the joint positions (the robot's process publishes)"
    )
    parser.add_argument("--frames", required=True, help="endpoint to publish JPEG frames on")
    parser.add_argument("--acted-on", action="store_true", help="a policy reads the frames: not niced, and finer")
    parser.add_argument("--rate", type=float, default=10.0, help="Hz at most, all cameras (default: %(default)s)")
    arguments = parser.parse_args(argv)
    end_with_parent()
    if not arguments.acted_on:
        os.nice(NICE)
    task = load_task(arguments.task)
    scene = parse_scene(task.scene)
    renderer = SceneRenderer(build_scene(scene, scene.world(arguments.world)), scene)
    states, frames = Latest(arguments.states), Publisher(arguments.frames, backlog=FRAME_BACKLOG)
    compression = ACTED_ON if arguments.acted_on else LIVE
    render_loop(renderer, list(scene.cameras), states, frames, arguments.rate, compression)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
