"""The verbs of the command line: wire what is asked for, show how it goes, leave results behind."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from robot_rl.adapters.acting import load_adapter
from robot_rl.adapters.files import numbers
from robot_rl.config import TaskConfig, load_task, task_path
from robot_rl.control.actor import Actor
from robot_rl.errors import StoreError
from robot_rl.evaluate import evaluate, frozen
from robot_rl.plan import RunPlan, checkpoint_path, connect_policy, learner_status, new_run, open_run
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.flow import FlowPolicy
from robot_rl.protocols import Adapter
from robot_rl.results import Rate, draw_curve, write_json_results, write_tensorboard
from robot_rl.store.files import read_json
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labelled_episodes
from robot_rl.twins import Split, load_object
from robot_rl.types import LabelValue

REFRESH_S = 0.2


@dataclass(frozen=True)
class RunRequest:
    """What `robot-rl run` was asked for."""

    task: str
    method: str
    episodes: int | None
    seed: int
    label: str
    pace: str
    policy: str | None
    out: Path | None
    resume: Path | None
    console_port: int | None
    trials: int


def run_task(request: RunRequest, console: Console) -> None:
    """Begin or resume a run, watch it to its end, evaluate it, write and print its results."""
    if request.resume is not None:
        path = request.resume
    else:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = f"{Path(request.task).stem}-{request.method}-{request.seed}-{stamp}"
        path = request.out or Path("runs") / name
        arguments = {"episodes": request.episodes, "label": request.label, "policy": request.policy}
        new_run(path, request.task, request.method, request.seed, {**arguments, "pace": request.pace})
    run, info, task, local = open_run(path)
    asked = info.arguments
    label = str(asked.get("label", request.label))
    pace = str(asked.get("pace", request.pace))
    if pace == "auto":
        pace = "lockstep" if label == "auto" else "real-time"
    episodes = request.episodes or asked.get("episodes") or task.protocol.episodes
    console.print(f"[bold]{task.title}[/bold]: {info.method}, seed {info.seed}, {pace} pace, in {run.path}")
    policy = connect_policy(request.policy or asked.get("policy"), local)
    base = baseline(run, task, info.method, local, console)
    plan = RunPlan(
        run=run,
        info=info,
        task=task,
        policy=policy,
        episodes=int(episodes),
        auto_label=label == "auto",
        console_port=request.console_port,
        base_success=base.rate,
        base_trials=base.trials,
    )
    if pace == "lockstep":
        from robot_rl.lockstep import run_lockstep as compose
    else:
        from robot_rl.realtime import run_realtime as compose
    started = time.monotonic()
    with progress_bar(console) as bar:
        watch = Watch(bar, plan)
        compose(plan, watch, lambda url: console.print(f"the operator's page: [link]{url}[/link]"))
    console.print(f"{plan.episodes} episodes in {time.monotonic() - started:.0f} s")
    status = learner_status(run, alive=False) or {}
    console.print(
        f"learner: {status.get('updates', 0)} updates, UTD {status.get('utd_reached', 0.0):.2f} of {plan.method.utd:g}"
    )
    finish(run, request.trials, info.seed, console)


class Watch:
    """Shows a run's progress; called every control step, it looks a few times a second."""

    def __init__(self, bar: Progress, plan: RunPlan) -> None:
        self._bar, self._plan = bar, plan
        self._due = 0.0
        done = len(labelled_episodes(plan.run))
        self._task: TaskID = bar.add_task("episodes", total=plan.episodes, completed=done, note="")

    def __call__(self, actor: Actor) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REFRESH_S
        shown = actor.snapshot()
        recent = [value for _, value in shown["curve"][-20:]]
        rate = f"last {len(recent)}: {sum(recent) / len(recent):.0%}" if recent else ""
        learner = shown["learner"] or {}
        acting = f"adapter v{shown['adapter_version']}  UTD {learner.get('utd_reached', 0):.1f}"
        note = f"{shown['state'].lower()}  {rate}  {acting}"
        self._bar.update(self._task, completed=len(shown["curve"]), note=note)


def baseline(run: RunDirectory, task: TaskConfig, method: str, policy: FlowPolicy, console: Console) -> Rate:
    """The frozen policy's success in the twin; measured once for a run."""
    path = run.results / "base.json"
    if path.exists():
        known = read_json(path)
        return Rate(int(known["successes"]), int(known["trials"]))
    trials = task.protocol.baseline_trials
    with progress_bar(console) as bar:
        row = bar.add_task("the frozen policy alone", total=trials, note="")
        rate = evaluate(
            task, method, policy, frozen(policy), trials=trials, seed=0, split=Split.SELECT,
            progress=lambda done: bar.update(row, completed=done),
        )  # fmt: skip
    write_json_results(path, {"successes": rate.successes, "trials": rate.trials, "split": "select", "seed": 0})
    return rate


def finish(run: RunDirectory, trials: int, seed: int, console: Console) -> None:
    """Evaluate the newest adapter against the frozen policy, and leave table, PNG, JSON and TensorBoard."""
    console.print(f"results are left in {run.results}")
    if trials:
        evaluate_and_show(run.path, trials=trials, seed=seed, version=None, world="twin", console=console)
    else:
        draw_results(run, None, None)


def evaluate_and_show(path: Path, *, trials: int, seed: int, version: int | None, world: str, console: Console) -> None:
    """`robot-rl eval`: table, files, and one last line of JSON."""
    run, info, task, policy = open_run(path)
    known = numbers(run.adapters)
    if not known:
        raise StoreError(f"{run.path} has no adapter yet: run it first")
    chosen = version or known[-1]
    adapter = load_adapter(run.adapters, chosen, policy.spec)
    candidates: dict[str, Adapter] = {"frozen policy": frozen(policy), f"adapter v{chosen}": adapter}
    rates: dict[str, Rate] = {}
    with progress_bar(console) as bar:
        for name, candidate in candidates.items():
            row = bar.add_task(f"evaluating the {name}", total=trials, note="")

            def advance(done: int, row: TaskID = row) -> None:
                bar.update(row, completed=done)

            rates[name] = evaluate(
                task, info.method, policy, candidate, trials=trials, seed=seed, world=world, progress=advance
            )
    base, final = rates.values()
    table = Table("", "success", "95 % interval", "trials", title=f"{task.title}: {info.method}, {world} world")
    for name, rate in rates.items():
        table.add_row(name, f"{rate.rate:.2f}", "{:.2f} to {:.2f}".format(*rate.interval), f"{rate.trials}")
    console.print(table)
    results: dict[str, Any] = {
        "task": task.name,
        "method": info.method,
        "run_seed": info.seed,
        "evaluation_seed": seed,
        "world": world,
        "adapter_version": chosen,
        "episodes": len(labelled_episodes(run)),
        "trials": trials,
        "base_success": base.rate,
        "base_interval": list(base.interval),
        "success": final.rate,
        "interval": list(final.interval),
    }
    write_json_results(run.results / f"evaluation-{world}-{seed}.json", results)
    draw_results(run, base, final)
    console.file.write(json.dumps(results) + "\n")


def draw_results(run: RunDirectory, base: Rate | None, final: Rate | None) -> None:
    """The learning curve, from the label log as it is now."""
    log = LabelLog(run.labels)
    try:
        labels = log.current()
    finally:
        log.close()
    curve = [
        (episode, int(event.label.value is LabelValue.SUCCESS))
        for episode, event in sorted(labels.items())
        if event.label.value is not LabelValue.DISCARD
    ]
    if not curve:
        return
    info, task = run.read_info(), load_task(run.task_yaml)
    title = f"{task.title} ({info.method}, seed {info.seed})"
    draw_curve(run.results / "curve.png", title, curve, task.method(info.method).warmup_episodes, base, final)
    scalars = {} if base is None or final is None else {"evaluation/base": base.rate, "evaluation/adapter": final.rate}
    write_tensorboard(run.results / "tensorboard", curve, scalars)


def record_demonstrations(
    task: TaskConfig, out: Path, count: int | None, seed: int, console: Console
) -> Demonstrations:
    """`robot-rl demos`."""
    wanted = count or task.policy.demonstrations
    with progress_bar(console) as bar:
        row = bar.add_task("demonstrations", total=wanted, note="")
        recorded: Demonstrations = load_object(task.demonstrator)(
            task, wanted, seed, lambda done: bar.update(row, completed=done)
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    recorded.save(out)
    console.print(f"{recorded.episodes} demonstrations, {len(recorded.action)} control steps, in {out}")
    return recorded


def clone_policy(task_name: str, demonstrations: Path | None, out: Path | None, console: Console) -> None:
    """`robot-rl pretrain`."""
    from robot_rl.clock import SteppedClock
    from robot_rl.policy.cloning import clone
    from robot_rl.twins import load_twin

    task = load_task(task_name)
    target = out or checkpoint_path(task, task_path(task_name))
    if demonstrations is None:
        recorded = record_demonstrations(task, target.with_suffix(".demos.npz"), None, task.policy.seed, console)
    else:
        recorded = Demonstrations.load(demonstrations)
    robot = load_twin(task, "twin", SteppedClock()).spec
    with progress_bar(console) as bar:
        rows: dict[str, TaskID] = {}

        def show(stage: str, step: int, steps: int, loss: float) -> None:
            if stage not in rows:
                rows[stage] = bar.add_task(stage, total=steps, note="")
            bar.update(rows[stage], completed=step, note=f"loss {loss:.4f}")

        report = clone(recorded, task.policy, robot.action_space, target, show, step_s=1 / robot.control_hz)
    made = f"{report.policy_id}: {report.parameters} parameters, flow loss {report.flow_loss:.4f}"
    console.print(f"{made}, {report.seconds:.0f} s, in {target}")


def progress_bar(console: Console) -> Progress:
    """The one look of long work."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"), console=console,
    )  # fmt: skip
