"""The camera process, as a process: it follows published states and publishes pictures of them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robot_rl.services.frames import StatePublisher
from robot_rl.task_files import task_path
from robot_rl.types import Array
from robot_rl.wire.latest import Latest
from sim_twin.lid_opening import LidOpeningTwin

PATIENCE_S = 30.0


@contextmanager
def cameras(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """(process, endpoint of states, endpoint of frames)."""
    states, frames = f"ipc://{folder}/states", f"ipc://{folder}/frames"
    command = [sys.executable, "-m", "sim_twin.camera_process", "--task", str(task_path("lid_opening"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen([*command, "--states", states, "--frames", frames], env=environment)
    try:
        yield started, states, frames
    finally:
        started.kill()
        started.wait(10)


def pictures_of(twin: LidOpeningTwin, publisher: StatePublisher, frames: Latest) -> dict[str, Array]:
    """Camera -> picture of the twin as it stands: of the first state published from now on that all have shown."""
    before = publisher._seq
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        publisher.offer(twin.joint_positions)
        newest = frames.poll(timeout_ms=40)
        numbers = {header["seq"] for header, _ in newest.values()}
        if len(newest) == 3 and len(numbers) == 1 and min(numbers) > before:
            for header, _ in newest.values():
                assert 0 <= time.monotonic_ns() - header["stamp_ns"] < PATIENCE_S * 1e9
            return {name: np.asarray(Image.open(io.BytesIO(jpeg))) for name, (_, jpeg) in newest.items()}
    pytest.fail(f"no picture of a state after number {before} in {PATIENCE_S:.0f} s")


def test_it_publishes_every_camera_and_follows_the_states(twin: LidOpeningTwin, tmp_path: Path) -> None:
    with cameras(tmp_path) as (process, states, endpoint):
        publisher, frames = StatePublisher(states), Latest(endpoint)
        try:
            before = pictures_of(twin, publisher, frames)
            assert before.keys() == {"front", "side", "wrist"}
            for picture in before.values():
                assert picture.shape == (240, 320, 3)
                assert picture.std() > 15
            for _ in range(15):
                twin.apply(np.array([0.0, 0.012, 0.012, 0.0]))
            after = pictures_of(twin, publisher, frames)
            for name, picture in after.items():
                assert np.abs(picture.astype(int) - before[name]).max() > 50, name
            assert process.poll() is None
            process.terminate()
            process.wait(10)
        finally:
            publisher.close()
            frames.close()
