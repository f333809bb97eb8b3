"""`python -m benchmarks.soak [--minutes M]`: does anything grow while a run and its page stay open for hours?

A run in the twin at lockstep pace, which does in minutes what a person takes hours for, with its page open in a real
headless Chromium. Every few seconds it is written down how much memory each process of the run and the page hold (the
page after a garbage collection, with its DOM nodes), how long the page waits for a snapshot (with the lists of all
episodes, which grow, and without them, as ten times a second) and for its own main thread, and how old its pictures
are. At the end each has a slope per hour and per 100 episodes, by Theil and Sen with its 95 % interval, over what came
after the first fifth: replay, episode list and curve fill up at first.

`--viewers N` measures something else: what N viewers of all cameras cost the control loop. The run is then in real
time, and blocks with and without viewers take turns, in an order that turns round from pair to pair. A viewer is the
page's own two sockets without a browser, which would be on another machine. A step is late by what it came later than
one control period after the step before it, by the stamps that the episodes hold; blocks are compared pair by pair.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from playwright.sync_api import CDPSession, Page, sync_playwright
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.ending import show
from benchmarks.intervals import half_width
from robot_rl.clock import SECOND
from robot_rl.errors import StoreError
from robot_rl.processes import end_with_parent
from robot_rl.store.episode import read_messages
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import TASKS_DIR, task_path
from robot_rl.types import Array

MB, KIB = 1e6, 1024
START_S = 120.0
SETTLING = 0.2
"""The share of a soak that its slopes leave out."""
BLOCK_S = 20.0
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
MANY = 1_000_000
"""Episodes of a run that is to go on until it is told to end."""
GAP_S = 1.0
"""Two steps further apart are not one after the other: a pause, or an episode's end."""

ASK = """async () => {
  const begun = performance.now();
  const { lists } = await (await fetch('/api/snapshot')).json();
  const began = performance.now();
  await (await fetch('/api/snapshot?lists=' + lists)).text();
  const answered = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 0));
  const turned = performance.now();
  const news = [...document.querySelectorAll('.camera .age')].map((age) => age.textContent);
  return { whole_ms: began - begun, snapshot_ms: answered - began, turn_ms: turned - answered, ages: news,
    listed: document.querySelectorAll('.episode').length, state: document.body.dataset.state };
}"""


# --- the run ----------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A run with a page, in a process group of its own."""

    process: subprocess.Popen[str]
    path: Path
    url: str = ""

    def processes(self) -> dict[str, int]:
        """Name -> process id: the actor, and each child by its module's name."""
        found = {"actor": self.process.pid}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (folder / "cmdline").read_bytes().decode().split("\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == self.process.pid and "-m" in arguments:
                found[arguments[arguments.index("-m") + 1].split(".")[-1]] = int(folder.name)
        return found


def small_task(folder: Path) -> str:
    """The lid task with a learner that takes a tenth of the time: more episodes a minute."""
    task = yaml.safe_load(task_path("lid_opening").read_text())
    task["methods"] = {"usr": task["methods"]["usr"] | {"hidden": 64, "layers": 2, "batch": 64, "utd": 1.0}}
    task["policy"]["checkpoint"] = str(TASKS_DIR / task["policy"]["checkpoint"])
    path = folder / "lid_opening.yaml"
    path.write_text(yaml.safe_dump(task))
    return str(path)


@contextmanager
def running(folder: Path, pace: str, task: str = "lid_opening") -> Iterator[Run]:
    """A run of `task` until the block ends."""
    path, log = folder / "run", folder / "run.log"
    words = ["run", task, "--pace", pace, "--episodes", str(MANY), "--out", str(path)]
    command = [sys.executable, "-m", "robot_rl.cli", *words, "--trials", "0", "--port", "0"]
    with log.open("w") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment)
    run = Run(process, path)
    try:
        end = time.monotonic() + START_S
        while not (found := re.search(r"https?://\S+", log.read_text())):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the run did not begin:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        run.url = found[0].rstrip("/.") + "/"
        yield run
    finally:
        process.terminate()  # SIGINT is ignored by what a shell runs in its background
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process; None if it is gone."""
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) * KIB / MB


# --- what grows -------------------------------------------------------------------------------------------------------


@dataclass
class Diary:
    """Name -> [(hours, value)]."""

    rows: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, hours: float, values: Mapping[str, float | None]) -> None:
        for name, value in values.items():
            if value is not None:
                self.rows.setdefault(name, []).append((hours, value))

    def summary(self) -> dict[str, dict[str, float]]:
        """Of each: median, slopes per hour and per 100 episodes with their intervals, of what came after the settling.

        A list of episodes may well grow with the episodes; in a run that goes on evenly the one is the other.
        """
        until = SETTLING * max(hours for rows in self.rows.values() for hours, _ in rows)
        hundreds = {hours: episodes / 100 for hours, episodes in self.rows["episodes"]}
        summary = {}
        for name, rows in self.rows.items():
            kept = [row for row in rows if row[0] >= until]
            per_hour = slope(kept)
            per_100 = slope([(hundreds[hours], value) for hours, value in kept])
            summary[name] = {
                "median": float(np.median([value for _, value in kept])) if kept else float("nan"),
                **{f"per_hour{end}": value for end, value in per_hour.items()},
                **{f"per_100_episodes{end}": value for end, value in per_100.items()},
            }
        return summary


def slope(points: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Theil and Sen's slope of (x, y) and the ends of its 95 % interval; NaN where x never changes."""
    x, y = np.array(points).reshape(-1, 2).T
    if len(points) < 3 or np.ptp(x) == 0:
        return dict.fromkeys(("", "_low", "_high"), float("nan"))
    found, _, low, high = stats.theilslopes(y, x, 0.95)
    return {"": float(found), "_low": float(low), "_high": float(high)}


def look(page: Page, cdp: CDPSession, run: Run) -> dict[str, float | None]:
    """One row of the diary."""
    cdp.send("HeapProfiler.collectGarbage")
    metrics = {entry["name"]: float(entry["value"]) for entry in cdp.send("Performance.getMetrics")["metrics"]}
    asked = [page.evaluate(ASK) for _ in range(5)]
    ages = [float(age.split()[0]) for age in asked[-1]["ages"] if re.fullmatch(r"\d+ ms", age)]
    memory = {f"{name} MB": resident_mb(pid) for name, pid in run.processes().items()}
    return {
        **memory,
        "page heap MB": metrics["JSHeapUsedSize"] / MB,
        "page nodes": metrics["Nodes"],
        "page listeners": metrics["JSEventListeners"],
        "whole snapshot ms": float(np.median([one["whole_ms"] for one in asked])),
        "snapshot ms": float(np.median([one["snapshot_ms"] for one in asked])),
        "page turn ms": float(np.median([one["turn_ms"] for one in asked])),
        "oldest picture ms": max(ages) if ages else None,
        "episodes": float(asked[-1]["listed"]),
    }


def soak(
    folder: Path, minutes: float, episodes: int, every_s: float, task: str, console: Console
) -> tuple[Diary, list[str]]:
    """The diary of `minutes`, or of `episodes` if they come first, and what the page's console complained of."""
    diary, complaints = Diary(), list[str]()
    with running(folder, "lockstep", task) as run, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(run.url)
        page.click("#help-close")
        page.click("#show-learning")
        cdp = page.context.new_cdp_session(page)
        cdp.send("Performance.enable")
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < 60 * minutes:
            if run.process.poll() is not None:
                raise SystemExit(f"the run ended by itself:\n{(folder / 'run.log').read_text()[-2000:]}")
            row = look(page, cdp, run)
            diary.add(elapsed / 3600, row)
            figures = "  ".join(f"{name} {value:.1f}" for name, value in row.items() if value is not None)
            console.print(f"{elapsed / 60:6.1f} min  {figures}", soft_wrap=True)
            if (row["episodes"] or 0) >= episodes:
                break
            page.wait_for_timeout(1000 * every_s)
        browser.close()
    return diary, complaints


# --- what viewers cost ------------------------------------------------------------------------------------------------


def view(url: str, viewers: int) -> None:
    """Be `viewers` viewers of the control socket and of three cameras each, until SIGTERM."""
    from websockets.asyncio.client import connect
    from websockets.typing import Origin

    end_with_parent()
    base, origin, frames = re.sub(r"^http", "ws", url), Origin(url.rstrip("/")), 0

    async def watch() -> None:
        async with connect(f"{base}ws/control?watch", origin=origin, compression=None, max_size=None) as socket:
            async for _ in socket:
                pass

    async def camera(name: str) -> None:
        nonlocal frames
        async with connect(f"{base}ws/cam/{name}", origin=origin, compression=None) as socket:
            while True:
                await socket.send("next")
                await socket.recv()
                frames += 1

    async def everything() -> None:
        tasks = [asyncio.create_task(watch()) for _ in range(viewers)]
        tasks += [asyncio.create_task(camera(name)) for name in ("front", "side", "wrist") for _ in range(viewers)]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: [task.cancel() for task in tasks])
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)

    asyncio.run(everything())
    print(json.dumps({"frames": frames}), flush=True)


def lateness_ms(run: RunDirectory, blocks: Sequence[tuple[int, int]]) -> list[Array]:
    """Of each block (monotonic ns, from and to): by how much each step came later than a period after the last one."""
    stamps: list[int] = []
    for episode in run.closed_episodes():
        try:
            stamps += [message.stamp_ns for message in read_messages(run.episode(episode), "/steps")]
        except StoreError:
            continue
    at = np.array(stamps, np.int64)
    gaps = np.diff(at)
    late = []
    for begin, end in blocks:
        inside = (at[1:] >= begin) & (at[1:] < end) & (gaps < GAP_S * SECOND)
        late.append(gaps[inside] / 1e6 - 50.0)
    return late


def viewing(folder: Path, minutes: float, viewers: int, console: Console) -> dict[str, float]:
    """Pairs of blocks with and without viewers, `minutes` of each side; the figures of the last line."""
    pairs = max(1, round(60 * minutes / BLOCK_S))
    spans: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    frames = 0
    with running(folder, "real-time") as run:
        time.sleep(10.0)  # the first episode is under way
        for pair in range(pairs):
            for watched in (True, False) if pair % 2 else (False, True):
                command = [sys.executable, "-m", "benchmarks.soak", "--view", run.url, "--viewers", str(viewers)]
                process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True) if watched else None
                time.sleep(2.0)  # they are connected, or gone
                begin = time.monotonic_ns()
                time.sleep(BLOCK_S)
                spans[watched].append((begin, time.monotonic_ns()))
                if process is not None:
                    process.terminate()
                    seen = json.loads(process.communicate()[0] or "{}").get("frames", 0)
                    if not seen:
                        raise SystemExit("the viewers saw no frame: there is nothing to compare")
                    frames += seen
            console.print(f"pair {pair + 1} of {pairs}")
    directory = RunDirectory.look(run.path)
    late = {watched: lateness_ms(directory, blocks) for watched, blocks in spans.items()}
    difference = np.array([np.mean(on) - np.mean(off) for on, off in zip(late[True], late[False], strict=True)])
    half = half_width(difference.tolist())
    half = float("nan") if half is None else half
    figures: dict[str, float] = {"viewers": viewers, "pairs": pairs, "frames_per_second": frames / (pairs * BLOCK_S)}
    for name, side in (("with", late[True]), ("without", late[False])):
        steps = np.concatenate(side)
        figures |= {f"steps_{name}": len(steps), f"p50_late_ms_{name}": float(np.percentile(steps, 50))}
        figures |= {f"p99_late_ms_{name}": float(np.percentile(steps, 99)), f"worst_late_ms_{name}": float(steps.max())}
    mean = float(difference.mean())
    return figures | {"difference_ms": mean, "difference_low": mean - half, "difference_high": mean + half}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, help="of the soak, or of each side (default: 120, short 5)")
    parser.add_argument("--episodes", type=int, default=MANY, help="the soak ends with them, if they come first")
    parser.add_argument("--every", type=float, help="s between two rows (default: 10, short 2)")
    parser.add_argument("--short", action="store_true", help="5 minutes, with a small learner: shows that it runs")
    parser.add_argument("--viewers", type=int, default=0, help="measure what so many viewers cost, in place of a soak")
    parser.add_argument("--view", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.view:
        view(arguments.view, arguments.viewers)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what it started ends too
    console, short = Console(), arguments.short
    minutes = arguments.minutes or (5.0 if short else 120.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.viewers:
            figures = viewing(folder, minutes, arguments.viewers, console)
            table = Table("", "with viewers", "without", title=f"{arguments.viewers} viewers of three cameras")
            for row in ("steps", "p50_late_ms", "p99_late_ms", "worst_late_ms"):
                table.add_row(
                    row.replace("_", " "), *(f"{figures[f'{row}_{side}']:.3g}" for side in ("with", "without"))
                )
            words = (
                f"a step comes later by {figures['difference_ms']:.3f} ms with viewers "
                f"({figures['difference_low']:.3f} to {figures['difference_high']:.3f}); "
                f"{figures['frames_per_second']:.0f} frames/s were seen"
            )
            return show(console, table, words, figures)
        diary, complaints = soak(
            folder, minutes, arguments.episodes, arguments.every or (2.0 if short else 10.0),
            small_task(folder) if short else "lid_opening", console,
        )  # fmt: skip
    table = Table(
        "", "median", "per hour", "per 100 episodes", title=f"{minutes:g} minutes; slopes with 95 % intervals"
    )
    summary = diary.summary()
    for name, found in summary.items():
        slopes = (
            f"{found[per]:.3g} ({found[f'{per}_low']:.3g} to {found[f'{per}_high']:.3g})"
            for per in ("per_hour", "per_100_episodes")
        )
        table.add_row(name, f"{found['median']:.4g}", *slopes)
    total: Any = diary.rows["episodes"][-1][1]
    last: dict[str, Any] = {
        "minutes": 60 * diary.rows["episodes"][-1][0],
        "episodes": total,
        "complaints": complaints,
        "slopes": summary,
    }
    return show(console, table, "; ".join(complaints[:5]), last)


if __name__ == "__main__":
    sys.exit(main())
