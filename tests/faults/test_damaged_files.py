"""A run is resumed on a flipped bit, a cut file and a foreign one: older ones are used, and the page says so."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from robot_rl.adapters.files import numbers, read_weights, write_weights
from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, open_run
from robot_rl.store.run import RunDirectory
from robot_rl.wire.rpc import RpcClient
from tests.realtime_run import labels, short_run, started, wait_for

BEGUN, EPISODES = 4, 6


def damage(run: RunDirectory) -> int:
    """The newest three adapters and the newest checkpoint are not what they were; the version that is still good."""
    good, cut, flipped, foreign = numbers(run.adapters)
    weights = run.adapters / f"{flipped:06d}.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    weights = run.adapters / f"{cut:06d}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    arrays, manifest = read_weights(run.adapters, foreign)
    write_weights(run.adapters, foreign, arrays, {**manifest, "task": "drawer"})
    newest = run.checkpoints / f"{numbers(run.checkpoints)[-1]:06d}.json"
    newest.write_bytes(newest.read_bytes()[:-40])
    return good


@pytest.mark.timeout(120)
def test_what_cannot_be_used_is_said_and_the_run_goes_on_from_what_can(tmp_path: Path) -> None:
    run = short_run(tmp_path)
    plan = RunPlan(*open_run(run.path), BEGUN, auto_label=True, console_port=None)
    run_lockstep(plan, lambda actor: None, lambda url: None)  # every episode has its version
    kept, good = labels(run), damage(run)
    with started(run, EPISODES, "--page") as realtime:
        guard, actor = realtime.connect()
        with closing(guard), closing(actor):
            shown = wait_for(lambda: snapshot(actor)["adapter_version"], "an episode", 60)
            # The good one, or what the learner has made again from the newest checkpoint that is whole.
            assert read_weights(run.adapters, shown)[1]["task"] == plan.task.name
            said = wait_for(lambda: " ".join(snapshot(actor)["alarms"]), "the alarms", 60)
        status, output = realtime.finish(60)
    assert status == 0, output
    assert f"checkpoints/{BEGUN:06d}.json" in said or f"checkpoints/{BEGUN:06d}.json" in log(run)
    if shown == good:
        for words in ("is of task 'drawer', this run is of", "expected sha256"):
            assert words in said
    assert labels(run).items() >= kept.items()
    assert len(labels(run)) == EPISODES
    assert read_weights(run.adapters, EPISODES)[1]["version"] == EPISODES


def snapshot(actor: RpcClient) -> dict[str, Any]:
    return dict(actor.call("snapshot", timeout_s=5.0)[0])


def log(run: RunDirectory) -> str:
    return (run.path / "logs" / "learner.log").read_text()
