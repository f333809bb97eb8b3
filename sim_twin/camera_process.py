"""`python -m sim_twin.camera_process`: renders the twin's cameras beside the robot, at the rate that the machine allows.

It follows the joint positions that the robot's process publishes and publishes JPEG frames, one camera after the
other; niced, so that pictures never take time from the control loop. A frame carries the stamp of the state it shows.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import cv2

from robot_rl.config import load_task
from robot_rl.errors import BadObservation
from robot_rl.processes import end_with_parent
from robot_rl.services.frames import newest_state
from robot_rl.wire.latest import Latest, Publisher
from sim_twin.cameras import SceneRenderer
from sim_twin.config import parse_scene
from sim_twin.scene import build_scene

JPEG_QUALITY = 80
NICE = 15
IDLE_MS = 200.0


def render_loop(renderer: SceneRenderer, cameras: Sequence[str], states: Latest, frames: Publisher, rate_hz: float) -> None:
    """Until terminated: wait for a newer state, render every camera once, publish."""
    shown = -1
    due = 0.0
    while True:
        state = newest_state(states, IDLE_MS)
        if state is None or state[0] == shown:
            continue
        shown, stamp_ns, qpos = state
        for name in cameras:
            bgr = renderer.render(name, qpos)[..., ::-1]
            ok, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            if not ok:
                raise BadObservation(f"camera {name}: a frame could not be encoded as JPEG")
            frames.publish(name, {"seq": shown, "stamp_ns": stamp_ns}, jpeg.tobytes())
        due = max(due + 1 / rate_hz, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sim_twin.camera_process", description=__doc__)
    parser.add_argument("--task", required=True, type=Path, help="task file (.yaml)")
    parser.add_argument("--world", default="twin", help="which of the task's worlds (default: %(default)s)")
    parser.add_argument("--states", required=True, help="endpoint on which the robot's process publishes joint positions")
    parser.add_argument("--frames", required=True, help="endpoint to publish JPEG frames on")
    parser.add_argument("--rate", type=float, default=10.0, help="Hz at most, all cameras (default: %(default)s)")
    arguments = parser.parse_args(argv)
    end_with_parent()
    os.nice(NICE)
    task = load_task(arguments.task)
    scene = parse_scene(task.scene)
    renderer = SceneRenderer(build_scene(scene, scene.worlds[arguments.world]), scene)
    states, frames = Latest(arguments.states), Publisher(arguments.frames)
    render_loop(renderer, list(scene.cameras), states, frames, arguments.rate)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
