"""Three synthetic cameras and who looks at them, a process each: over ROS 2 (raw images), or over ZMQ ipc.

`python -m benchmarks.image_streams publish|listen ros|zmq ENDPOINT` says "ready", works until its standard input ends,
and then says in one line of JSON what it did. Frames are stamped with the host's monotonic clock just before they are
published, and once more when who looks has their pixels. A line "rest" on its standard input lets who publishes rest
until a line "go": what it would have shown meanwhile was never due. (A signal would not do: Fast DDS forgets a process
that is silent for 20 s, and what it shows first after that is lost.)
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.clock import MS
from robot_rl.memory import keep_freed_memory
from robot_rl.processes import end_with_parent
from robot_rl.types import Array

CAMERAS = ("front", "side", "wrist")
HEIGHT, WIDTH = 480, 640
RATE_HZ = 30
GO, REST = "go\n", "rest\n"
LOOK_S = 0.2
"""How often it is looked whether it is over."""
Frame = tuple[str, int, int]
"""Camera, number and stamp in ns."""


@dataclass
class Seen:
    """What came, in the order in which it came."""

    frames: list[tuple[str, int, int, float]] = field(default_factory=list)
    """Camera, number, stamp in ns, and how old it was by then in ms."""

    def take(self, camera: str, stamp_ns: int, pixels: Array) -> None:
        """`pixels`: [H, W, 3], as `numbered` made them."""
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        number = int.from_bytes(pixels[0, 0].tobytes(), "little")
        self.frames.append((camera, number, stamp_ns, (time.monotonic_ns() - stamp_ns) / MS))

    @property
    def said(self) -> dict[str, Any]:
        """What who looks says in the end."""
        return {"frames": self.frames}


def numbered(pixels: Array, number: int) -> Array:
    """`pixels` [H, W, 3] uint8 with `number` in the first one."""
    pixels[0, 0] = np.frombuffer(number.to_bytes(3, "little"), np.uint8)
    return pixels


@dataclass(frozen=True)
class Told:
    """What the standard input says."""

    stopping: threading.Event = field(default_factory=threading.Event)
    going: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        """Until its end."""
        self.going.set()
        for line in sys.stdin:
            if line == REST:
                self.going.clear()
            elif line == GO:
                self.going.set()
        self.stopping.set()


def due_times(told: Told) -> Iterator[None]:
    """Yields at `RATE_HZ` until told to stop."""
    due = time.monotonic()
    while not told.stopping.is_set():
        if not told.going.is_set():
            told.going.wait(LOOK_S)
            due = time.monotonic()
            continue
        time.sleep(max(0.0, due - time.monotonic()))
        yield
        due += 1 / RATE_HZ


def publish(show: Callable[[Frame], None], told: Told) -> dict[str, Any]:
    """Show all cameras, one after the other."""
    count = 0
    for _ in due_times(told):
        count += 1
        for camera in CAMERAS:
            show((camera, count, time.monotonic_ns()))
    return {"published": count * len(CAMERAS)}


def over_ros(role: str, told: Told) -> dict[str, Any]:
    """Published with the system's defaults, heard best-effort, as REP-2003 has it."""
    import rclpy
    from rclpy.experimental.events_executor import EventsExecutor
    from robot_rl_ros.images import RawImages, hear_images

    rclpy.init(args=[])
    node = rclpy.create_node(f"images_{role}")
    try:
        if role == "publish":
            images, pixels = RawImages(node, CAMERAS), np.zeros((HEIGHT, WIDTH, 3), np.uint8)

            def show(frame: Frame) -> None:
                camera, number, stamp_ns = frame
                images.show(camera, stamp_ns, numbered(pixels, number))

            return ready() or publish(show, told)
        seen = Seen()
        hear_images(node, CAMERAS, lambda camera, image: seen.take(camera, image.stamp_ns, image.pixels))
        executor = EventsExecutor()
        executor.add_node(node)
        ready()
        while not told.stopping.is_set():
            executor.spin_once(LOOK_S)
        return seen.said
    finally:
        node.destroy_node()
        rclpy.shutdown()


def over_zmq(role: str, endpoint: str, told: Told) -> dict[str, Any]:
    """As the processes of a run pass on their frames."""
    from robot_rl.wire.latest import Publisher, Subscriber

    if role == "publish":
        publisher, pixels = Publisher(endpoint), np.zeros((HEIGHT, WIDTH, 3), np.uint8)

        def show(frame: Frame) -> None:
            camera, number, stamp_ns = frame
            publisher.publish(camera, {"stamp_ns": stamp_ns}, numbered(pixels, number).tobytes())

        ready()
        done = publish(show, told)
        publisher.close()
        return done
    subscriber, seen = Subscriber(endpoint), Seen()
    ready()
    while not told.stopping.is_set():
        for camera, header, payload in subscriber.take(50):
            seen.take(camera, header["stamp_ns"], np.frombuffer(payload, np.uint8).reshape(HEIGHT, WIDTH, 3))
    subscriber.close()
    return seen.said


def ready() -> None:
    """Whoever started this waits for it."""
    print("ready", flush=True)


def main() -> int:
    """Its exit status."""
    end_with_parent()
    keep_freed_memory()  # both ways alike
    role, over, endpoint = sys.argv[1:4]
    told = Told()
    threading.Thread(target=told.listen, daemon=True).start()
    done = over_ros(role, told) if over == "ros" else over_zmq(role, endpoint, told)
    print(json.dumps(done), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
