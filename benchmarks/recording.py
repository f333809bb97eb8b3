"""`python -m benchmarks.recording [--minutes M]`: what does recording cost a 20 Hz control loop?

Three cameras of 640 x 480 publish JPEG frames at 30 Hz each, from a process of their own, all the time. The loop does
what an actor does: at each step it is woken when one is due, once a chunk the frozen policy decodes, and while it is
recorded it hands every step to the store, which is the real one in its own process and takes the cameras' frames in by
itself. Blocks with and without recording take turns, in an order that turns round from pair to pair, M minutes of each;
a recorded block is an episode. How late a step is says how long after it was due its work was done. Frames are counted
against what was published: recorded, said by the episode to be lost, or lost without a word.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.ending import show
from benchmarks.ticks import block, control
from robot_rl.processes import begin_service
from robot_rl.services.camera_recorder import LOST
from robot_rl.services.frames import FRAME_BACKLOG
from robot_rl.services.store import StoreClient
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, read_images, read_messages
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.task_files import task_path
from robot_rl.types import Array
from robot_rl.wire.latest import Publisher

PERIOD_S, BLOCK_S, START_S = 1 / 20, 10.0, 30.0
CAMERAS, FRAME_HZ, SIZE, QUALITY = ("front", "side", "wrist"), 30.0, (640, 480), 80
OUTCOME = EpisodeOutcome("success", 1, terminal=True, truncated=False, complete=True, verdicts={})


def publish(endpoint: str) -> None:
    """The cameras, until SIGTERM; then the stamps of all that was published, ns."""
    stopping, publisher = begin_service(), Publisher(endpoint, backlog=FRAME_BACKLOG)
    pictures = {name: _picture(seed) for seed, name in enumerate(CAMERAS)}
    stamps: list[int] = []
    print("ready", flush=True)
    began = time.monotonic()
    while not stopping.wait(max(0.0, began + len(stamps) / FRAME_HZ - time.monotonic())):
        header = {"frame": len(stamps), "seq": len(stamps), "stamp_ns": time.monotonic_ns()}
        for name, jpeg in pictures.items():
            publisher.publish(name, header, jpeg)
        stamps.append(header["stamp_ns"])
    publisher.close()
    print(json.dumps(stamps), flush=True)


def _picture(seed: int) -> bytes:
    """A JPEG with as much in it as a camera's: blurred noise, and some of it sharp."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (SIZE[1], SIZE[0], 3), np.int16)
    jpeg = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(jpeg, "JPEG", quality=QUALITY)
    return jpeg.getvalue()


def recorded(work: Callable[[int], None], store: StoreClient) -> Callable[[int], None]:
    """A step's work, and its record of the size that `control.episode` writes."""
    message: dict[str, Any] = {"chunk": 1, "row": 1, "epoch": 1, "verdict": "pass", "reason": "", "seq": 1}
    message |= {name: [0.123456789] * 7 for name in ("target", "sent", "tcp_pose", "q")}

    def work_and_write(step: int) -> None:
        work(step)
        store.write("/steps", time.monotonic_ns(), message)

    return work_and_write


def account(run: RunDirectory, published: Array) -> dict[str, int]:
    """What became of the frames between the first and the last recorded one of each episode and camera."""
    totals = {"published": 0, "recorded": 0, "lost": 0, "bytes": 0}
    for episode in run.closed_episodes():
        folder = run.episode(episode)
        for camera in CAMERAS:
            stamps = [image.stamp_ns for image in read_images(folder, camera)]
            totals["recorded"] += len(stamps)
            totals["published"] += int(((published >= stamps[0]) & (published <= stamps[-1])).sum()) if stamps else 0
        # What a gap says before the first recorded frame lies outside of this account.
        totals["lost"] += sum(int(message.body["frames"]) for message in read_messages(folder, LOST))
        totals["bytes"] += sum(path.stat().st_size for path in folder.iterdir())
    return totals


def summarise(on: Sequence[Array], off: Sequence[Array], frames: Mapping[str, int], minutes: float) -> dict[str, float]:
    """The figures of the last line."""
    late = {"with": np.concatenate(on) * 1e3, "without": np.concatenate(off) * 1e3}
    figures: dict[str, float] = {"steps_each": len(late["with"])}
    for side, values in late.items():
        figures |= {f"p{p}_late_ms_{side}": float(np.percentile(values, p)) for p in (50, 99)}
    return {
        **figures,
        "p99_late_ratio": figures["p99_late_ms_with"] / figures["p99_late_ms_without"],
        "frames_published": frames["published"],
        "frames_recorded": frames["recorded"],
        "frames_said_lost": frames["lost"],
        "frames_unaccounted": frames["published"] - frames["recorded"] - frames["lost"],
        "mb_per_minute": frames["bytes"] / 1e6 / minutes,
        "load": os.getloadavg()[0],
    }


def measure(folder: Path, sockets: Path, pairs: int, seconds: float, console: Console) -> dict[str, float]:
    """Pairs of blocks, with and without recording, of `seconds` each."""
    run = RunDirectory.create(folder / "run", RunInfo("recording", "none", 0, "none", "0"))
    shutil.copyfile(task_path("lid_opening"), run.task_yaml)  # whose cameras are these
    frames, endpoint = f"ipc://{sockets}/frames", f"ipc://{sockets}/store"
    module = [sys.executable, "-m"]
    cameras = subprocess.Popen(
        [*module, "benchmarks.recording", "--publish", frames], stdout=subprocess.PIPE, text=True
    )
    storing = [*module, "robot_rl.compositions.store_process", str(run.path), "--endpoint", endpoint]
    keeper = subprocess.Popen([*storing, "--frames", frames])
    store = StoreClient(endpoint, timeout_s=START_S)
    on: list[Array] = []
    off: list[Array] = []
    work = control()
    assert cameras.stdout is not None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        cameras.stdout.readline()
        store.episodes()  # both are up
        with Progress(*columns, console=console) as bar:
            row = bar.add_task("pairs of blocks", total=pairs)
            for pair in range(pairs):
                for records in (True, False) if pair % 2 else (False, True):
                    if not records:
                        off.append(block(work, seconds, PERIOD_S))
                        continue
                    store.begin(EpisodeHeader(pair + 1, "recording", "none", "none", "none", 0, 0, 0, "0"))
                    on.append(block(recorded(work, store), seconds, PERIOD_S))
                    store.end(OUTCOME)
                bar.advance(row)
    finally:
        store.close()
        cameras.terminate()
        published, _ = cameras.communicate()
        keeper.terminate()
        keeper.wait()
    return summarise(on, off, account(run, np.array(json.loads(published))), pairs * seconds / 60)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recording", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="of each side (default: %(default)s)")
    parser.add_argument("--publish", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.publish is not None:
        publish(arguments.publish)
        return 0
    seconds = min(BLOCK_S, arguments.minutes * 60)
    pairs = max(1, round(arguments.minutes * 60 / seconds))
    console = Console()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets:
        figures = measure(Path(folder), Path(sockets), pairs, seconds, console)
    table = Table("", "recording", "not", title=f"{figures['steps_each']} steps at 20 Hz, each")
    for percentile in (50, 99):
        row = (f"{figures[f'p{percentile}_late_ms_{side}']:.2f}" for side in ("with", "without"))
        table.add_row(f"{percentile}th percentile of lateness, ms", *row)
    words = (
        f"{figures['frames_published']} frames published, {figures['frames_recorded']} recorded, "
        f"{figures['frames_said_lost']} said to be lost; {figures['mb_per_minute']:.0f} MB/min"
    )
    return show(console, table, words, figures)


if __name__ == "__main__":
    sys.exit(main())
