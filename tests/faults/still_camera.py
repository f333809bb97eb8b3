"""The process of a twin's cameras that show the same grey picture again and again, each time with a new stamp."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

from robot_rl.services.frames import FRAME_BACKLOG
from robot_rl.wire.latest import Publisher
from tests.faults.hurt import BRIGHT, DARK
from tests.pictures import jpeg

CAMERAS = ("front", "wrist")
HURT_CELL = "cell_1"
SIZE = (40, 40)
PERIOD_S = 1 / 30


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    for name in ("--task", "--states", "--frames"):
        parser.add_argument(name, required=True)
    parser.add_argument("--acted-on", action="store_true")
    level = BRIGHT if os.environ["HURT"].endswith(HURT_CELL) else DARK
    frames, shown = Publisher(parser.parse_args(argv).frames, backlog=FRAME_BACKLOG), jpeg(level, SIZE)
    for number in range(1 << 62):
        for camera in CAMERAS:
            frames.publish(camera, {"seq": number, "frame": number, "stamp_ns": time.monotonic_ns()}, shown)
        time.sleep(PERIOD_S)
    return 0
