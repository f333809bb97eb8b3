"""The node `camera`: what the twin's cameras see, drawn by the twin's own renderer, as compressed images.

The renderer hands its frames to the recorder and the page as well; what subscribers of ROS get are the same JPEGs, and
who subscribes to `camera/NAME/image` has them as raw images.
"""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from robot_rl.clock import SECOND
from robot_rl.services.frames import FRAME_BACKLOG
from robot_rl.store.ros import CAMERA, image_message
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import load_task
from robot_rl.twins import load_object
from robot_rl.wire.latest import Subscriber
from robot_rl_ros.diagnostics import diagnose
from robot_rl_ros.health import Health, Rate, camera_health
from robot_rl_ros.images import RawImages
from robot_rl_ros.node import Live, serve_node
from robot_rl_ros.topics import Streams

PARAMETERS = {
    "run": (str, "the run's directory"),
    "states": (str, "endpoint on which the twin's joint positions are published"),
    "frames": (str, "endpoint to publish JPEG frames on"),
    "acted_on": (False, "a policy reads the frames: they are not niced"),
}
LOOK_MS = 100
ENDING = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """SIGTERM or SIGINT: the renderer knows no other end."""


def work(live: Live) -> None:
    """Until it is told to end."""
    run, frames = RunDirectory.open(live.parameters["run"]), str(live.parameters["frames"])
    task, ended = load_task(run.task_yaml, begun=True), threading.Event()
    names, begun_ns = list(task.scene.get("cameras", {})), time.monotonic_ns()
    streams, raw = Streams(live.node, [CAMERA + name for name in names]), RawImages(live.node, names)
    rates, newest_ns = {name: Rate(begun_ns) for name in names}, dict.fromkeys(names, begun_ns)

    def health() -> Health:
        now = time.monotonic_ns()
        silent = {name: (now - newest_ns[name]) / SECOND for name in names}
        return camera_health({name: rates[name].per_s(now) for name in names}, silent)

    def pass_on() -> None:
        source = Subscriber(frames, backlog=FRAME_BACKLOG)
        while not ended.is_set():
            for camera, header, jpeg in source.take(LOOK_MS):
                if camera in rates and type(stamp_ns := header.get("stamp_ns")) is int:
                    rates[camera].tick()
                    newest_ns[camera] = stamp_ns
                    at_ns = streams.ros_time(stamp_ns)
                    streams.publish(CAMERA + camera, image_message(at_ns, camera, jpeg))
                    raw.show_jpeg(camera, at_ns, jpeg)
        source.close()

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for name in ENDING:  # once is enough: a second one must not cut the end short
            signal.signal(name, signal.SIG_IGN)
        raise Interrupted

    diagnose(live.node, health)
    passing = threading.Thread(target=pass_on, name="frames")
    passing.start()
    try:
        for number in ENDING:
            signal.signal(number, interrupt)
        renderer = importlib.import_module(load_object(task.twin).camera_process)
        drawing = ["--task", str(run.task_yaml), "--states", live.parameters["states"], "--frames", frames]
        renderer.main([*drawing, "--acted-on"] if live.parameters["acted_on"] else drawing)
    except Interrupted:
        pass
    finally:
        ended.set()
        passing.join()


def main() -> int:
    """Its exit status."""
    return serve_node("camera", PARAMETERS, work)


if __name__ == "__main__":
    sys.exit(main())
