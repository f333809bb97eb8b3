"""`robot-rl train-offline`: an adapter from recorded episodes alone (DSRL paper, sections 5.2 and 5.3).

What comes of it is a run: its first episodes are the given ones, in the terms of its method, with their labels and
where they are from; its learner has taken them in and done its updates. `robot-rl eval` evaluates it, and
`robot-rl run --resume` goes on from it online. The given episodes count as its warm-up, so that with a `prior_share`
(RLPD's is 0.5) that share of a batch is drawn from them for ever, and the rest from what comes after; without one all
are drawn alike. Updates beyond the method's UTD are made in advance: online, learning goes on when the chunks have
caught up with them.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from robot_rl import __version__
from robot_rl.clock import wall_time_ns
from robot_rl.compositions.plan import look_at_run, make_directory, require_method
from robot_rl.compositions.results import write_json_results
from robot_rl.compositions.taken_over import Taken, keep, recorded
from robot_rl.compositions.terminal import progress_bar
from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError, StoreError
from robot_rl.learn.device import use_one_thread
from robot_rl.learn.offline import Interface, as_learnt_by
from robot_rl.learn.prior import load_prior
from robot_rl.learn.process import LearnerService
from robot_rl.protocols import FrozenPolicy
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome
from robot_rl.store.run import RunDirectory, RunInfo
from robot_rl.task_files import load_task
from robot_rl.types import LabelValue

DEMONSTRATION = "demonstration"


@dataclass(frozen=True)
class OfflineRequest:
    """What `robot-rl train-offline` was asked for; None: not said."""

    runs: Sequence[Path]
    method: str | None = None
    updates: int | None = None
    demonstrations: Path | None = None
    seed: int = 0
    out: Path | None = None


def train_offline(request: OfflineRequest, console: Console) -> None:
    """Raises `RobotRLError`s that say what was expected; nothing is made on the disk for episodes that do not fit."""
    use_one_thread()
    first, info, task, policy = look_at_run(request.runs[0])
    method = request.method or info.method
    require_method(task, method, policy)
    target = Interface(policy.spec, method, task.method(method))
    taken, table = _demonstrated(request, target, policy, task), _table(target)
    left_out: Counter[str] = Counter()
    demonstrations = len(taken)
    if taken:
        table.add_row(str(request.demonstrations), "", f"{demonstrations}", f"{demonstrations}", "0")
    for path in _distinct(request.runs):
        episodes, without = recorded(path, target, task)
        taken += episodes
        left_out.update(without)
        won = sum(episode.value is LabelValue.SUCCESS for episode in episodes)
        table.add_row(str(path), RunDirectory(path).read_info().method, f"{len(episodes)}", f"{won}", f"{len(without)}")
    console.print(table)
    for why, count in left_out.items():
        console.print(f"left out: {count}, {why}", soft_wrap=True)
    if not taken:
        raise StoreError(f"{request.runs[0]}: no episode is labelled success or failure: label some, then train")
    run = _write(request, first, target, task, taken)
    started = time.monotonic()
    service = LearnerService(run, load_task(run.task_yaml, begun=True), ordered=False)
    try:
        with progress_bar(console) as bar:
            row = bar.add_task("updates", total=None, note="")
            service.train(request.updates, lambda done, of: bar.update(row, completed=done, total=of))
        learner = service.learner
        results = {
            "task": task.name,
            "method": target.method,
            "seed": request.seed,
            "out": str(run.path),
            "runs": [str(path) for path in request.runs],
            "episodes": len(taken),
            "demonstrations": demonstrations,
            "successes": sum(episode.value is LabelValue.SUCCESS for episode in taken),
            "left_out": left_out.total(),
            "refused": len(learner.refused),
            "chunks": learner.chunks,
            "updates": learner.updates,
            "adapter_version": learner.version,
            "losses": learner.losses,
            "seconds": round(time.monotonic() - started, 1),
        }
    finally:
        service.close()
    write_json_results(run.results / "train-offline.json", results)
    console.print(f"adapter version {results['adapter_version']} is in {run.path}; `robot-rl eval` evaluates it")
    console.file.write(json.dumps(results) + "\n")


def _table(target: Interface) -> Table:
    title = f"what {target.method} learns from"
    return Table("episodes of", "method", "episodes", "successes", "left out", title=title)


def _distinct(runs: Sequence[Path]) -> Sequence[Path]:
    """Raises `ConfigError` for a run that comes twice: its episodes would count double."""
    resolved = [path.resolve() for path in runs]
    for path, place in zip(runs, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ConfigError(f"{path} is given more than once; name each run once")
    return runs


def _demonstrated(request: OfflineRequest, target: Interface, policy: FrozenPolicy, task: TaskConfig) -> list[Taken]:
    """The demonstrations as episodes that succeeded."""
    path = request.demonstrations
    if path is None:
        return []
    taken = []
    for transitions in load_prior(str(path), policy, target.layout, target.config.gamma):
        steps = sum(t.k_executed for t in transitions)
        header = EpisodeHeader(
            0, task.name, DEMONSTRATION, policy.spec.policy_id, policy.spec.hash, 0, 0, wall_time_ns(), __version__
        )
        outcome = EpisodeOutcome("success", steps, True, False, True, {"pass": steps})
        chunks, known = as_learnt_by(target, target, transitions)
        origin = {"demonstrations": str(path), "episode": -transitions[0].episode, "steers_known": known}
        taken.append(Taken(header, outcome, partial(list, chunks), LabelValue.SUCCESS, DEMONSTRATION, origin))
    return taken


def _write(
    request: OfflineRequest, first: RunDirectory, target: Interface, task: TaskConfig, taken: Sequence[Taken]
) -> RunDirectory:
    """The new run with its episodes and labels; its method's warm-up is as long as they are many."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name = f"{task.name}-{target.method.replace(':', '-')}-{request.seed}-offline-{stamp}"
    raw = yaml.safe_load(first.task_yaml.read_bytes())
    raw["methods"][target.method] = {**(raw["methods"][target.method] or {}), "warmup_episodes": len(taken)}
    text = "# Of robot-rl train-offline: warmup_episodes is the number of episodes that were taken over.\n"
    text += yaml.safe_dump(raw, sort_keys=False)
    begun = {name: value for name, value in first.read_info().arguments.items() if name in ("label", "pace")}
    info = RunInfo(
        task=task.name,
        method=target.method,
        seed=request.seed,
        spec_hash=target.spec.hash,
        code_version=__version__,
        arguments={**begun, "offline": [str(path) for path in request.runs], "updates": request.updates},
    )
    run, _ = make_directory(request.out or Path("runs") / name, info, text.encode(), first.policy, first.briefing)
    keep(run, taken)
    return run
