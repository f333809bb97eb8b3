"""`robot-rl run`: begin or resume a run, watch it to its end, evaluate it, leave its results."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from robot_rl.clock import SteppedClock
from robot_rl.compositions.evaluate import evaluate, frozen
from robot_rl.compositions.page_access import announce_page
from robot_rl.compositions.plan import (
    LOCKSTEP,
    REAL_TIME,
    RunPlan,
    begin_run,
    connect_policy,
    is_named,
    learner_status,
    material_of,
    open_run,
    require_method,
)
from robot_rl.compositions.report import draw_results, evaluate_and_show
from robot_rl.compositions.results import Rate, known_rate, write_json_results
from robot_rl.compositions.terminal import Watch, progress_bar
from robot_rl.compositions.transfer import begin_from, read_learnt, require_begun, require_fit
from robot_rl.config import TaskConfig
from robot_rl.console.access import Access, require_access
from robot_rl.errors import ConfigError, IntegrityError
from robot_rl.protocols import FrozenPolicy
from robot_rl.safety.limits import Limits
from robot_rl.store.compute import read_compute
from robot_rl.store.run import FROM, RunDirectory, RunInfo
from robot_rl.store.training import labelled_episodes
from robot_rl.twins import TWIN, Split, hardware, load_twin

DEFAULTS: dict[str, Any] = {
    "task": "lid_opening",
    "method": "usr",
    "seed": 0,
    "label": "auto",
    "pace": "auto",
    "hw": TWIN,
    "overlap": "auto",
    "world": TWIN,
}


@dataclass(frozen=True)
class RunRequest:
    """What `robot-rl run` was asked for; None: not said."""

    task: str | None = None
    method: str | None = None
    episodes: int | None = None
    seed: int | None = None
    label: str | None = None
    pace: str | None = None
    hw: str | None = None
    """What moves: a name of `robot_rl.twins.HARDWARE`."""
    policy: str | None = None
    policy_keys: Path | None = None
    overlap: str | None = None
    """auto: a policy server infers the next chunk while the present one runs, at real-time pace; off: it does not."""
    world: str | None = None
    """Of the task's worlds the one that it is in: twin, or real (its perturbed copy)."""
    begin_from: Path | None = None
    """The run with whose adapter a new one begins."""
    out: Path | None = None
    resume: Path | None = None
    console_port: int | None = None
    access: Access = field(default_factory=Access)
    trials: int = 0
    learner: bool = True
    """False: none on this machine, now; a resumed run may have one."""


Announce = Callable[[str], None]
Compose = Callable[[RunPlan, Watch, Announce], None]
"""Runs a plan to its end; calls the watch as it goes, and announces the address of the page."""


def run_task(request: RunRequest, console: Console, compose: Compose | None = None) -> None:
    """`compose` in place of this process's own composition of the request's pace.

    Raises `RobotRLError`s that say what was expected; nothing is made on the disk for a run that cannot begin.
    """
    plan = plan_run(request, console)
    run, info = plan.run, plan.info
    if compose is None:
        compose = _composition(plan.pace)
    started, before = time.monotonic(), len(labelled_episodes(run))
    with progress_bar(console) as bar:
        watch = Watch(bar, plan)
        compose(plan, watch, lambda url: announce_page(url, plan.access, console))
    console.print(f"{len(labelled_episodes(run)) - before} episodes in {time.monotonic() - started:.0f} s")
    if not request.learner:
        here = escape(str(run.path))
        console.print(f"no learner ran here; where torch is: `python -m robot_rl.learn {here}`, `robot-rl eval {here}`")
        return
    status = learner_status(run, alive=False) or {}
    console.print(
        f"learner: {status.get('updates', 0)} updates, UTD {status.get('utd_reached', 0.0):.2f} of {plan.method.utd:g}"
    )
    console.print(f"results are left in {escape(str(run.results))}")
    if request.trials:
        evaluate_and_show(run.path, trials=request.trials, seed=info.seed, version=None, world=None, console=console)
    else:
        draw_results(run, None, None)


def plan_run(request: RunRequest, console: Console) -> RunPlan:
    """Begin a run, or take one up again, and say so. Raises as `run_task` does."""
    if request.console_port is not None:
        require_access(request.access)
    path = _begin(request) if request.resume is None else request.resume
    run, info, task, local = open_run(path)
    begun = {"task": info.task, "method": info.method, "seed": info.seed, **info.arguments}
    if request.resume is not None:
        if info.ranges is not None:
            raise ConfigError(
                f"{path} was begun by robot-rl adapt, in randomised worlds: go on with `robot-rl adapt --resume "
                f"{path}`, or begin a run with its adapter, `robot-rl run --from {path}`"
            )
        _agrees(request, begun)
        read_compute(run)  # a learner that cannot go on as it did is refused before anything moves
        require_begun(run, info)
    label, pace, hw = (str(begun.get(name) or DEFAULTS[name]) for name in ("label", "pace", "hw"))
    pace = _pace(label, pace, hw, request)
    episodes = request.episodes or begun.get("episodes") or task.protocol.episodes
    if not isinstance(episodes, int):
        raise IntegrityError(f"{run.run_json}: expected a number of episodes, got {episodes!r}")
    world = "" if info.world == TWIN else f", world {info.world}"
    where = escape(f"{info.method}, seed {info.seed}, {pace} pace, hw {hw}{world}, in {run.path}")
    console.print(f"[bold]{escape(task.title)}[/bold]: {where}")
    if info.began_with:
        origin = escape(str(info.arguments[FROM]["run"]))
        console.print(
            f"begun with adapter v{info.began_with} of {origin}; v{info.began_with + 1} is the first of its own"
        )
    keys = request.policy_keys or begun.get("policy_keys")
    endpoint = request.policy or begun.get("policy")
    policy = connect_policy(endpoint, local, None if keys is None else Path(keys))
    shown = request.console_port is not None and request.trials > 0
    base = baseline(run, info, task, local, console) if shown else None
    return RunPlan(
        run=run,
        info=info,
        task=task,
        policy=policy,
        episodes=episodes,
        auto_label=label == "auto",
        console_port=request.console_port,
        access=request.access,
        base_success=base.rate if base else None,
        base_trials=base.trials if base else None,
        pace=pace,
        learner=request.learner,
        policy_endpoint="" if policy is local else str(endpoint),
        policy_keys="" if policy is local or keys is None else str(Path(keys).absolute()),
    )


def _composition(pace: str) -> Compose:
    if pace == LOCKSTEP:
        from robot_rl.compositions.lockstep import run_lockstep

        return run_lockstep
    from robot_rl.compositions.realtime import run_realtime

    return run_realtime


def _begin(request: RunRequest) -> Path:
    """The directory of a new run, once everything that it needs has been seen to be there."""
    learnt = None if request.begin_from is None else read_learnt(request.begin_from)
    name, method, seed, label, pace, hw, _, world = (
        DEFAULTS[key] if getattr(request, key) is None else getattr(request, key) for key in DEFAULTS
    )
    if learnt is None:
        material = material_of(name)
    else:
        method = request.method or learnt.info.method
        material = learnt.material if request.task is None else material_of(name)
    task, policy = material.task, material.policy
    require_method(task, method, policy, learns_here=request.learner)
    with closing(load_twin(task, world, SteppedClock())) as twin:
        space = twin.spec.action_space
    Limits.of(task.limits, space)
    _pace(label, pace, hw, request)
    if request.policy is not None:
        _close(connect_policy(request.policy, policy, request.policy_keys))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = request.out or Path("runs") / f"{task.name}-{method.replace(':', '-')}-{seed}-{stamp}"
    arguments = {
        key: getattr(request, key) for key in ("episodes", "label", "policy", "pace", "hw", "overlap", "world")
    }
    if request.policy_keys is not None:
        arguments["policy_keys"] = str(request.policy_keys.absolute())
    if learnt is None:
        begin_run(path, material, method, seed, arguments)
    else:
        require_fit(learnt, task, method, policy, space)
        begin_from(path, learnt, material, seed, arguments)
    return path


def _pace(label: str, pace: str, hw: str, request: RunRequest) -> str:
    """The pace that `auto` stands for.

    Raises `ConfigError` where nobody could label, lockstep has no learner, or the robot's time does not stand still.
    """
    stands_still = hardware(hw).lockstep
    if not stands_still and pace == LOCKSTEP:
        raise ConfigError(f"--hw {hw}: it moves in real time; leave out --pace, or give real-time")
    if label == "human" and request.console_port is None:
        raise ConfigError("--label human: a person arms and labels on the operator's page; leave out --no-console")
    if label == "human" and pace == LOCKSTEP:
        raise ConfigError("--label human: in lockstep the twin outruns a person; leave out --pace, or give real-time")
    if not request.learner and pace == LOCKSTEP:
        raise ConfigError("--no-learner: lockstep waits for the learner; leave out --pace, or give real-time")
    if pace != "auto":
        return pace
    return REAL_TIME if label == "human" or not request.learner or not stands_still else LOCKSTEP


def _close(policy: FrozenPolicy) -> None:
    if close := getattr(policy, "close", None):
        close()


def _agrees(request: RunRequest, begun: dict[str, Any]) -> None:
    """A resumed run keeps its settings. Raises `ConfigError` for one that was asked to be another."""
    if request.out is not None:
        raise ConfigError(f"--out {request.out}: a resumed run stays in its directory, {request.resume}")
    if request.begin_from is not None:
        raise ConfigError(
            f"--from {request.begin_from}: {request.resume} has begun already, and a resumed run keeps what it learnt; "
            "leave out --resume to begin a new one"
        )
    for name, default in DEFAULTS.items():
        asked, had = getattr(request, name), begun.get(name) or default
        if asked is not None and asked != had and not (name == "task" and is_named(asked, had)):
            raise ConfigError(
                f"{name} {asked!r}: the run in {request.resume} was begun with {had!r}, and a resumed run keeps its "
                "settings; leave it out, or begin a new run"
            )


def baseline(run: RunDirectory, info: RunInfo, task: TaskConfig, policy: FrozenPolicy, console: Console) -> Rate:
    """The frozen policy's success in the run's world of the twin; measured once for a run."""
    path, trials = run.results / "base.json", task.protocol.baseline_trials
    measured = {"policy": policy.spec.hash, "split": "select", "seed": 0, "trials": trials}
    if info.world != TWIN:
        measured["world"] = info.world
    if (known := known_rate(path, measured)) is not None:
        return known
    with progress_bar(console) as bar:
        row = bar.add_task("the frozen policy alone", total=trials, note="")
        rate = evaluate(
            task, info.method, policy, frozen(policy), trials=trials, seed=0, split=Split.SELECT, world=info.world,
            progress=lambda done: bar.update(row, completed=done),
        )  # fmt: skip
    write_json_results(path, {**measured, "successes": rate.successes})
    return rate
