"""`python -m benchmarks.overlap [--call-ms M ...]`: how often does a robot hold for want of a chunk?

The frozen policy of a task behind a server of its own that takes M ms for each call (a chunk takes two: encode and
decode), a real-time run against the twin without a learner, its next chunk inferred while the present one runs, and the
same run without that, in turns. Counted are the control periods between an episode's first and last step; one is held
where the next step comes a period or more late. The last line of output is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from robot_rl.clock import SECOND
from robot_rl.compositions.plan import RunPlan, connect_policy, load_policy, new_run, open_run
from robot_rl.compositions.realtime import run_realtime
from robot_rl.control.actor import Actor
from robot_rl.policy.remote import RemotePolicy
from robot_rl.processes import GRACE_S
from robot_rl.protocols import FrozenPolicy
from robot_rl.store.episode import read_manifest, read_messages
from robot_rl.store.run import RunDirectory
from robot_rl.task_files import load_task, task_path
from robot_rl.types import Array, Context, Observation, PolicySpec

CALL_MS, TASK = "BENCHMARK_CALL_MS", "BENCHMARK_TASK"
"""Environment variables of the server."""


class Slow:
    """A frozen policy each of whose calls takes `call_s` longer."""

    def __init__(self, policy: FrozenPolicy, call_s: float) -> None:
        self._policy, self._call_s = policy, call_s

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    def encode(self, observations: Sequence[Observation]) -> Context:
        time.sleep(self._call_s)
        return self._policy.encode(observations)

    def decode(self, context: Context, noise: Array, latent: Array | None = None) -> Array:
        time.sleep(self._call_s)
        return self._policy.decode(context, noise, latent)


def slow_policy() -> Slow:
    """What the server serves."""
    task = os.environ[TASK]
    return Slow(load_policy(load_task(task), task_path(task)), float(os.environ[CALL_MS]) / 1000)


def measure(task: str, call_ms: float, overlap: str, episodes: int) -> dict[str, float]:
    """One run in a folder of its own."""
    with TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/policy"
        command = [sys.executable, "-m", "robot_rl.serve", "benchmarks.overlap:slow_policy", "--endpoint", endpoint]
        server = subprocess.Popen(
            command, env={**os.environ, CALL_MS: str(call_ms), TASK: task, "OMP_NUM_THREADS": "1"}
        )
        try:
            new_run(Path(folder) / "run", task, "usr", 0, {"overlap": overlap})
            run, info, config, local = open_run(Path(folder) / "run")
            policy = connect_policy(endpoint, local)

            def watch(actor: Actor) -> None: ...

            run_realtime(RunPlan(run, info, config, policy, episodes, True, None, learner=False), watch, print)
            if isinstance(policy, RemotePolicy):
                policy.close()
            return counted(run, 1 / (local.spec.step_s * SECOND))
        finally:
            server.terminate()
            server.wait(GRACE_S)


def counted(run: RunDirectory, per_ns: float) -> dict[str, float]:
    """What the episodes of `run` say, at `per_ns` control periods a nanosecond."""
    held = steps = splices = clipped = successes = 0
    ages: list[int] = []
    for episode in run.closed_episodes():
        stamps = np.array([message.stamp_ns for message in read_messages(run.episode(episode), "/steps")])
        held += int(np.maximum(np.rint(np.diff(stamps) * per_ns) - 1, 0).sum())
        steps += len(stamps)
        ages += [message.body["skipped"] for message in read_messages(run.episode(episode), "/spliced")]
        for message in read_messages(run.episode(episode), "/overlap"):
            splices, clipped = splices + message.body["splices"], clipped + message.body["clipped"]
        successes += read_manifest(run.episode(episode)).outcome.ended_by == "success"
    return {
        "steps": steps, "held": held, "held_share": held / (held + steps), "splices": splices, "seams_clipped": clipped,
        "skipped_mean": float(np.mean(ages)) if ages else 0.0, "episodes": len(run.closed_episodes()),
        "successes": successes,
    }  # fmt: skip


def main() -> int:
    """Measure, and show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=__doc__)
    parser.add_argument("--task", default="lid_opening")
    parser.add_argument("--call-ms", type=float, nargs="+", default=[25.0, 50.0, 100.0])
    parser.add_argument("--episodes", type=int, default=10, help="of each run (default: %(default)s)")
    arguments = parser.parse_args()
    console, results = Console(), []
    table = Table("ms a call", "overlap", "steps", "held", "held, %", "skipped rows", "seams clipped", "successes")
    for call_ms in arguments.call_ms:
        for overlap in ("off", "auto"):
            found = measure(arguments.task, call_ms, overlap, arguments.episodes)
            results.append({"call_ms": call_ms, "overlap": overlap, **found})
            table.add_row(
                f"{call_ms:g}", overlap, f"{found['steps']:.0f}", f"{found['held']:.0f}",
                f"{100 * found['held_share']:.1f}", f"{found['skipped_mean']:.1f}",
                f"{found['seams_clipped']:.0f} of {found['splices']:.0f}",
                f"{found['successes']:.0f} of {found['episodes']:.0f}",
            )  # fmt: skip
    console.print(table)
    console.file.write(json.dumps({"runs": results}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
