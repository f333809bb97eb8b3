"""`robot-rl critics RUN`: a finished run's two critics, compared at its own states; as a table and a line of JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from robot_rl.authority.critics import check_critics, critics_of, states_of
from robot_rl.authority.guide import load_guide
from robot_rl.compositions.plan import open_run
from robot_rl.compositions.results import write_json_results
from robot_rl.compositions.terminal import progress_bar
from robot_rl.errors import SpecMismatch, StoreError
from robot_rl.learn.checkpoint import resume
from robot_rl.learn.learner import Learner
from robot_rl.learn.prior import load_prior
from robot_rl.policy.backbones.loading import decoder_of
from robot_rl.store.episode import read_transitions
from robot_rl.store.training import labelled_episodes


def check_run(path: Path, episodes: int, console: Console) -> None:
    """At the chunks of the newest `episodes` labelled ones. Nothing of the run is changed but its results."""
    run, info, task, policy = open_run(path)
    config = task.method(info.method)
    learner = Learner(policy.spec, info.method, config, decoder_of(policy), info.seed)
    critics_of(learner)
    guide = load_guide(task)
    if config.demonstrations is not None:
        learner.add_demonstrations(load_prior(config.demonstrations, policy, learner.layout, config.gamma))

    def take(episode: int) -> None:
        try:
            learner.add_episode(read_transitions(run.episode(episode)))
        except (StoreError, SpecMismatch) as error:  # as the run's own learner does: go on without it
            learner.refuse(episode, str(error))

    for complaint in resume(run.checkpoints, learner, info.task, take):
        console.print(f"a checkpoint was not used: {complaint}")
    if not learner.updates:
        raise StoreError(f"{run.path} has no checkpoint of a learner that has learnt: run it past its warm-up first")
    chosen = labelled_episodes(run)[-episodes:]
    states = []
    with progress_bar(console) as bar:
        row = bar.add_task("episodes", total=len(chosen), note="")
        for episode, value in chosen:
            states += states_of(run, learner, guide, episode, value)
            bar.advance(row)
    found = check_critics(learner, states)
    table = Table(
        "where", "between", "Pearson", "Spearman", "n",
        title=f"{task.title}: {info.method} after {learner.updates} updates, {len(states)} chunks",
        caption="executed: over chunks; within: over draws at one state, mean over n states",
    )  # fmt: skip
    for name, c in found.items():
        where, _, between = name.partition(": ")
        table.add_row(where, between.replace(",", " and"), f"{c.pearson:.2f}", f"{c.spearman:.2f}", str(c.n))
    console.print(table)
    results = {
        "task": task.name, "method": info.method, "run_seed": info.seed, "updates": learner.updates,
        "adapter_version": info.began_with + learner.version, "chunks": len(states),
        "correlations": {
            name.replace(": ", "_").replace(", ", "_"): {
                "pearson": None if math.isnan(c.pearson) else c.pearson,
                "spearman": None if math.isnan(c.spearman) else c.spearman,
                "n": c.n,
            }
            for name, c in found.items()
        },
    }  # fmt: skip
    write_json_results(run.results / "critics.json", results)
    console.file.write(json.dumps(results) + "\n")
