"""`robot-rl adapt`: begin or resume the training of an adapter in randomised twins, watch it, leave its results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from robot_rl.adapters.files import numbers
from robot_rl.clock import SteppedClock
from robot_rl.compositions.adapt import Adaptation, Watch, run_adaptation
from robot_rl.compositions.plan import (
    LOCKSTEP,
    RunPlan,
    begin_run,
    is_named,
    learner_status,
    material_of,
    open_run,
    require_method,
)
from robot_rl.compositions.report import draw_results
from robot_rl.compositions.results import WINDOW, Rate, known_rate, write_json_results
from robot_rl.compositions.terminal import REFRESH_S, progress_bar
from robot_rl.errors import ConfigError, IntegrityError
from robot_rl.safety.limits import Limits
from robot_rl.store.compute import read_compute
from robot_rl.store.run import ADAPT, RunDirectory, RunInfo
from robot_rl.store.training import labelled_episodes
from robot_rl.twins import RANDOMISED, load_randomised, randomisation
from robot_rl.yaml_files import read_mapping

DEFAULTS: dict[str, Any] = {"task": "lid_opening", "method": "usr", "seed": 0}


@dataclass(frozen=True)
class AdaptRequest:
    """What `robot-rl adapt` was asked for; None: not said."""

    task: str | None = None
    method: str | None = None
    episodes: int | None = None
    seed: int | None = None
    workers: int | None = None
    ranges: Path | None = None
    """A YAML file of ranges in place of the defaults."""
    trials: int | None = None
    """Of the frozen policy in randomised worlds, before all else."""
    out: Path | None = None
    resume: Path | None = None


def adapt(request: AdaptRequest, console: Console, look: Watch = lambda going: None) -> None:
    """`robot-rl adapt`: a bar, files, and one last line of JSON. `look` is called as `Watch` is.

    Raises `RobotRLError`s that say what was expected; nothing is made on the disk for a run that cannot begin.
    """
    if request.workers is not None and request.workers < 1:
        raise ConfigError(f"--workers {request.workers}: expected at least 1, each of them a process with a twin")
    path = _begin(request) if request.resume is None else request.resume
    run, info, task, policy = open_run(path)
    begun = _begun(request, path, info)
    episodes, workers = request.episodes or begun["episodes"] or task.protocol.episodes, begun["workers"]
    trials = task.protocol.baseline_trials if begun["trials"] is None else begun["trials"]
    plan = RunPlan(run, info, task, policy, episodes, auto_label=True, console_port=None, pace=LOCKSTEP)
    where = escape(f"{info.method}, seed {info.seed}, {_count(workers, 'worker')}, randomised worlds, in {path}")
    console.print(f"[bold]{escape(task.title)}[/bold]: {where}")
    measured = {"policy": policy.spec.hash, "split": "select", "seed": 0, "trials": trials}
    measured |= {"world": RANDOMISED, "ranges": dict(info.ranges or {})}
    base_json = run.results / "base.json"
    base = known_rate(base_json, measured) if trials else None
    started, before = time.monotonic(), len(labelled_episodes(run))
    try:
        with progress_bar(console) as bar:
            show = Show(bar, plan, workers, base)

            def watch(going: Adaptation) -> None:
                show(going)
                look(going)

            going = run_adaptation(plan, workers, 0 if base else trials, watch)
    except KeyboardInterrupt:
        again = escape(f"robot-rl adapt --resume {path}")
        console.print(f"interrupted; no closed episode is lost, and `{again}` goes on", soft_wrap=True)
        raise
    seconds = time.monotonic() - started
    if base is None and (base := going.base_rate) is not None:
        write_json_results(base_json, {**measured, "successes": base.successes})
    draw_results(run, base, None)
    results = figures_of(plan, workers, base, going, len(going.outcomes) - before, seconds)
    write_json_results(run.results / "adapt.json", results)
    console.print(
        f"adapter version {results['adapter_version']} is in {escape(str(path))}; `robot-rl eval` evaluates it, "
        f"`robot-rl run --from {escape(str(path))}` takes it to a robot",
        soft_wrap=True,
    )
    console.file.write(json.dumps(results) + "\n")


def figures_of(
    plan: RunPlan, workers: int, base: Rate | None, going: Adaptation, played: int, seconds: float
) -> dict[str, Any]:
    """What the last line says; `played` episodes in `seconds` are this process's own."""
    status = learner_status(plan.run, alive=False) or {}
    outcomes = [value for _, value in going.outcomes]
    newest = outcomes[-WINDOW:]
    return {
        "task": plan.task.name,
        "method": plan.info.method,
        "seed": plan.info.seed,
        "world": RANDOMISED,
        "run": str(plan.run.path),
        "workers": workers,
        "episodes": len(outcomes),
        "successes": sum(outcomes),
        f"success_last_{WINDOW}": sum(newest) / len(newest) if newest else None,
        "base_success": None if base is None else base.rate,
        "base_interval": None if base is None else list(base.interval),
        "base_trials": 0 if base is None else base.trials,
        "adapter_version": max(numbers(plan.run.adapters), default=0),
        "chunks": status.get("chunks", 0),
        "updates": status.get("updates", 0),
        "utd_wanted": plan.method.utd,
        "utd_reached": status.get("utd_reached", 0.0),
        "episodes_played": played,
        "episodes_per_second": played / seconds,
        "seconds": round(seconds, 1),
        "workers_died": len(going.lost),
        "episodes_lost": going.episodes_lost,
    }


class Show:
    """The bar; called all the time, it looks a few times a second."""

    def __init__(self, bar: Progress, plan: RunPlan, workers: int, base: Rate | None) -> None:
        self._bar, self._plan, self._workers, self._base = bar, plan, workers, base
        self._due = 0.0
        self._said: set[str] = set()
        self._began_s: float | None = None
        self._had = 0
        self._trials: Any = None
        self._task = bar.add_task("episodes", total=plan.episodes, note="")

    def __call__(self, going: Adaptation) -> None:
        self._say(going.alarms)
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REFRESH_S
        if going.trials:
            if self._trials is None:
                self._trials = self._bar.add_task("the frozen policy alone", total=going.trials, note="")
            self._bar.update(self._trials, completed=len(going.base))
        outcomes = [value for _, value in going.outcomes]
        if self._began_s is None:
            self._began_s, self._had = now, len(outcomes)
        status = learner_status(self._plan.run, alive=True) or {}
        self._say([f"learner: {words}" for words in status.get("alarms", ())])
        newest, base = outcomes[-WINDOW:], self._base or going.base_rate
        parts = [f"last {len(newest)}: {sum(newest) / len(newest):.0%}" if newest else ""]
        parts += [f"(base {base.rate:.0%})" if base is not None else ""]
        parts += [f"adapter v{going.version}  UTD {status.get('utd_reached', 0):.1f}"]
        if len(outcomes) > self._had:
            parts += [f"{(len(outcomes) - self._had) / (now - self._began_s):.2f}/s"]
        parts += [_count(self._workers, "worker")]
        note = "  ".join(part for part in parts if part)
        self._bar.update(self._task, total=max(self._plan.episodes, len(outcomes)), completed=len(outcomes), note=note)

    def _say(self, alarms: Sequence[str]) -> None:
        """Each once."""
        for words in alarms:
            if words not in self._said:
                self._said.add(words)
                self._bar.console.print(escape(words), soft_wrap=True)


def _begin(request: AdaptRequest) -> Path:
    """The directory of a new run, once everything that it needs has been seen to be there."""
    name, method, seed = (DEFAULTS[key] if getattr(request, key) is None else getattr(request, key) for key in DEFAULTS)
    material = material_of(name)
    task = material.task
    require_method(task, method, material.policy)
    ranges = randomisation(task, read_ranges(request.ranges))
    with closing(load_randomised(task, ranges, SteppedClock())) as twin:
        Limits.of(task.limits, twin.spec.action_space)
    said = {"workers": request.workers or max(1, cores() - 1), "trials": request.trials, "ranges": ranges}
    arguments = {"episodes": request.episodes, "label": "auto", "pace": LOCKSTEP, ADAPT: said}
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = request.out or Path("runs") / f"{task.name}-{method.replace(':', '-')}-{seed}-adapt-{stamp}"
    begin_run(path, material, method, seed, arguments)
    return path


def _begun(request: AdaptRequest, path: Path, info: RunInfo) -> dict[str, Any]:
    """`episodes`, `workers`, `trials` of a run that is begun. Raises `ConfigError` if it was asked to be another."""
    if info.ranges is None:
        raise ConfigError(f"{path} was not begun by robot-rl adapt: go on with `robot-rl run --resume {path}`")
    said: dict[str, Any] = dict(info.arguments[ADAPT])
    if request.resume is not None:
        for option, given in (("--out", request.out), ("--ranges", request.ranges)):
            if given is not None:
                raise ConfigError(f"{option} {given}: {path} has begun already, and a resumed run keeps its own")
        had: dict[str, Any] = {"task": info.task, "method": info.method, "seed": info.seed}
        for name, value in had.items():
            asked = getattr(request, name)
            if asked is not None and asked != value and not (name == "task" and is_named(asked, value)):
                raise ConfigError(
                    f"{name} {asked!r}: the run in {path} was begun with {value!r}, and a resumed run keeps its "
                    "settings; leave it out, or begin a new run"
                )
        read_compute(RunDirectory(path))  # a learner that cannot go on as it did is refused before anything moves
    workers, episodes = request.workers or said.get("workers"), info.arguments.get("episodes")
    trials = said.get("trials") if request.trials is None else request.trials
    found = {"workers": workers, "episodes": episodes, "trials": trials}
    if workers is None or not all(isinstance(value, int | None) for value in found.values()):
        raise IntegrityError(f"{path}/run.json: expected a number of each, got {found}")
    return found


def read_ranges(path: Path | None) -> dict[str, Any]:
    """What a file of ranges says, not yet checked. Raises `ConfigError` for one that is no mapping in YAML."""
    if path is None:
        return {}
    try:
        return {str(name): value for name, value in read_mapping(path).items()}
    except ConfigError as error:
        raise ConfigError(f"--ranges {error}") from error


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
