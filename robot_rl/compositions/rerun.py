"""`robot-rl rerun`: an episode's recorded commands through guard and twin again, and where that departs from it.

An episode of a lockstep run begins where its seed and its number put it, so that in the same world nothing may differ,
in any bit; what differs is the code, the machine, or the world that was asked for. At real-time pace the arm began
where homing had left it, which is not recorded, so that its reruns begin a little apart. Control periods in which the
robot was held (paused, waiting for the policy) carry no command: they are the gaps between stamps, and are held again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from robot_rl.clock import SECOND, SteppedClock
from robot_rl.compositions.plain_text import plain
from robot_rl.compositions.plan import look_at_run
from robot_rl.compositions.results import AMBER, BLUE, GREY, write_json_results
from robot_rl.config import TaskConfig
from robot_rl.control.motion import LEEWAY, NO_EPOCH
from robot_rl.errors import DiskError, IntegrityError, StoreError
from robot_rl.safety.guard import Guard
from robot_rl.safety.limits import Limits
from robot_rl.store.episode import EpisodeHeader, read_manifest, read_messages
from robot_rl.store.mcap_file import Message
from robot_rl.store.run import locate
from robot_rl.store.taken import taken_from
from robot_rl.twins import RANDOMISED, Cell, load_randomised, load_twin
from robot_rl.types import Array, Command, Verdict

FAR_MM = (1.0, 5.0)
"""Distances whose first crossing is reported."""


@dataclass(frozen=True)
class Step:
    """What is known of one control step, as recorded or as it came out now."""

    stamp_ns: int
    target: Array
    """[A] SI: what was asked for."""
    sent: Array
    """[A] SI: what the guard let through."""
    verdict: Verdict
    tcp_pose: Array
    """[7] m and quaternion, after the step."""
    joints: Array
    """[n + 1] rad, and the gripper's width in m."""

    def same(self, other: Step) -> bool:
        """In every bit but the stamp."""
        pairs = ((self.sent, other.sent), (self.tcp_pose, other.tcp_pose), (self.joints, other.joints))
        return self.verdict is other.verdict and all(np.array_equal(a, b) for a, b in pairs)


@dataclass(frozen=True)
class Comparison:
    """The record beside its rerun, step by step."""

    recorded: Sequence[Step]
    rerun: Sequence[Step]
    success: bool
    """Of the rerun, as the twin judges it at the end."""

    @property
    def distance_mm(self) -> Array:
        """[steps] between the two TCP positions."""
        away = np.array([a.tcp_pose[:3] - b.tcp_pose[:3] for a, b in zip(self.recorded, self.rerun, strict=True)])
        distance: Array = 1000 * np.linalg.norm(away, axis=1)
        return distance

    @property
    def departs(self) -> int | None:
        """First step (from 1) that differs in any bit, or None."""
        pairs = enumerate(zip(self.recorded, self.rerun, strict=True), start=1)
        return next((number for number, (a, b) in pairs if not a.same(b)), None)

    def beyond(self, mm: float) -> int | None:
        """First step (from 1) after which the TCPs are further apart than `mm`, or None."""
        far = np.flatnonzero(self.distance_mm > mm)
        return int(far[0]) + 1 if far.size else None


def rerun_and_show(folder: Path, world: str | None, console: Console) -> None:
    """`robot-rl rerun`: table, picture, and one last line of JSON. `world` None: the run's own, or the episode's."""
    run, _, folder = locate(folder)
    _, info, task, _ = look_at_run(run.path)
    ranges = info.ranges if world is None else None
    world = world or (info.world if ranges is None else RANDOMISED)
    manifest, recorded = read_manifest(folder), read_steps(folder)
    compared = rerun(task, manifest.header, recorded, world, refused_ns(folder, recorded), ranges)
    distance, departs = compared.distance_mm, compared.departs
    largest = int(distance.argmax()) + 1 if distance.any() else None
    rows = {
        "first difference in any bit": departs,
        **{f"first beyond {mm:g} mm": compared.beyond(mm) for mm in FAR_MM},
        "largest": largest,
        "last step": len(recorded),
    }
    episode = manifest.header.episode
    table = Table("", "step", "TCP apart, mm", title=f"episode {episode} of {run.path.name}, rerun in world {world}")
    for name, step in rows.items():
        table.add_row(name, "never" if step is None else f"{step}", "" if step is None else f"{distance[step - 1]:.3f}")
    console.print(table)
    ended = manifest.outcome.ended_by
    console.print(f"recorded: ended by {ended}; rerun: {'success' if compared.success else 'no success'}")
    results: dict[str, Any] = {
        "episode": episode,
        "run": str(run.path),
        "world": world,
        "steps": len(recorded),
        "identical": departs is None,
        "departs_at_step": departs,
        **{f"beyond_{mm:g}_mm_at_step": compared.beyond(mm) for mm in FAR_MM},
        "largest_mm": float(distance.max()),
        "largest_at_step": largest,
        "final_mm": float(distance[-1]),
        "verdicts_that_differ": sum(a.verdict is not b.verdict for a, b in zip(recorded, compared.rerun, strict=True)),
        "recorded_ended_by": ended,
        "rerun_success": compared.success,
    }
    picture = run.results / f"rerun-{episode:06d}-{world}.png"
    try:
        draw(picture, f"{task.title}: episode {episode}, rerun in world {world}", compared)
        write_json_results(picture.with_suffix(".json"), results)
        console.print(plain(f"the picture is {picture}"), soft_wrap=True)
    except (OSError, DiskError) as error:  # the run may be on a disk that is not written to any more
        console.print(plain(f"picture and results are not kept beside the run: {error}"), soft_wrap=True)
    console.file.write(json.dumps(results) + "\n")


def read_steps(folder: Path) -> list[Step]:
    """The control steps of a closed episode. Raises `StoreError` for one without commands, or a damaged one."""
    messages = read_messages(folder, "/steps")
    if not messages:
        origin = taken_from(folder)
        raise StoreError(f"{folder}: no recorded commands{f'; {origin}: rerun that' if origin else ''}")
    return [_step(message, folder) for message in messages]


def refused_ns(folder: Path, recorded: Sequence[Step]) -> int | None:
    """When the first chunk was refused as a whole, if that was before the first step: holding began then."""
    refused = [message.stamp_ns for message in read_messages(folder, "/rejected")]
    return refused[0] if refused and refused[0] < recorded[0].stamp_ns else None


def rerun(
    task: TaskConfig, header: EpisodeHeader, recorded: Sequence[Step], world: str, begun_ns: int | None = None,
    ranges: Mapping[str, Any] | None = None,
) -> Comparison:  # fmt: skip
    """Send what was recorded to a twin of `task` at the episode's start.

    `begun_ns`: when its first control period began, None for that of the first step. `ranges`: the world is the one
    that the episode's number draws of these. Raises `ConfigError` for no such world.
    """
    clock = SteppedClock()
    twin = load_twin(task, world, clock) if ranges is None else load_randomised(task, ranges, clock)
    guard = Guard(twin, Limits.of(task.limits, twin.spec.action_space), task.guard, clock)
    Cell(twin, header.seed).reset(header.episode)
    period_ns = round(SECOND / twin.spec.control_hz)
    guard.renew_operator()
    epoch = guard.set_active(True).epoch
    done, last_ns = [], recorded[0].stamp_ns - period_ns if begun_ns is None else begun_ns
    for index, step in enumerate(recorded):
        for _ in range(round((step.stamp_ns - last_ns) / period_ns) - 1):
            guard.renew_operator()
            guard.tick_hold()
        guard.renew_operator()
        carried_out = step.verdict is not Verdict.HELD
        deadline_ns = clock.now_ns() + LEEWAY * period_ns
        result = guard.submit(Command(step.target, deadline_ns, epoch if carried_out else NO_EPOCH, 0, index))
        seen = result.observation
        joints = np.append(seen.q, seen.gripper_width)
        done.append(Step(result.stamp_ns, step.target, result.sent, result.verdict, seen.tcp_pose, joints))
        last_ns = step.stamp_ns
    return Comparison(recorded, done, twin.truth().success)


def draw(path: Path, title: str, compared: Comparison) -> None:
    """Recorded and rerun TCP over the steps, and how far they are apart, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    recorded, again = (np.array([s.tcp_pose[:3] for s in steps]) for steps in (compared.recorded, compared.rerun))
    steps = np.arange(1, len(recorded) + 1)
    figure, panels = pyplot.subplots(4, 1, figsize=(8, 8), dpi=130, layout="constrained", sharex=True)
    for axis, panel in enumerate(panels[:3]):
        panel.plot(steps, recorded[:, axis], color=GREY, lw=4, alpha=0.5, label="recorded")
        panel.plot(steps, again[:, axis], color=BLUE, lw=1.5, label="rerun")
        panel.set_ylabel(f"TCP {'xyz'[axis]}, m")
    panels[0].legend(fontsize=8)
    panels[3].plot(steps, compared.distance_mm, color=AMBER, lw=1.5)
    panels[3].set(xlabel="control step", ylabel="apart, mm", ylim=(0, None))
    if departs := compared.departs:
        panels[3].axvline(departs, color=GREY, ls="--", lw=1)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _step(message: Message, folder: Path) -> Step:
    body = message.body
    try:
        target, sent, pose, q = (np.array(body[name], np.float64) for name in ("target", "sent", "tcp_pose", "q"))
        joints = np.append(q, float(body["gripper_width"]))
        step = Step(message.stamp_ns, target, sent, Verdict(body["verdict"]), pose, joints)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder}: a message of /steps is no control step: {error!r:.200}; not rerun") from error
    if step.tcp_pose.shape != (7,) or step.target.ndim != 1 or step.sent.shape != step.target.shape:
        raise IntegrityError(f"{folder}: a message of /steps has arrays of other shapes; not rerun")
    return step
