"""A resumed run does not arm when its policy or its adapter no longer do what they did, at either pace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from robot_rl.adapters.files import numbers, read_weights, write_weights
from robot_rl.compositions.lockstep import run_lockstep
from robot_rl.compositions.plan import RunPlan, new_run, open_run
from robot_rl.errors import SpecMismatch
from robot_rl.store.run import RunDirectory
from robot_rl.types import Array
from tests.realtime_run import labels, short_run, started
from tests.small_task import write_small_task


def lockstep(path: Path, episodes: int) -> RunDirectory:
    """Begin or resume."""
    run, info, config, policy = open_run(path)
    plan = RunPlan(run, info, config, policy, episodes, auto_label=True, console_port=None)
    run_lockstep(plan, lambda actor: None, lambda url: None)
    return run


def lie(run: RunDirectory, version: int) -> None:
    """The manifest says that the adapter steered a little more."""
    arrays, manifest = read_weights(run.adapters, version)
    steer = manifest["golden"]["output"]["steer"]
    manifest["golden"]["output"]["steer"] = [value * 1.001 for value in steer]
    write_weights(run.adapters, version, arrays, manifest)


def exact_gelu(x: Array) -> Array:
    """What another version of a library might call GELU."""
    return np.asarray(x * 0.5 * (1 + erf(x / np.sqrt(2.0))), np.float32)


def test_in_lockstep_what_has_changed_is_refused_before_anything_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    run = lockstep(tmp_path / "run", 3)
    with monkeypatch.context() as patch:
        patch.setattr("robot_rl.policy.flow.gelu", exact_gelu)
        with pytest.raises(SpecMismatch, match=r"frozen policy flow-.* does not act as it did"):
            lockstep(run.path, 4)
    true = {path.name: path.read_bytes() for path in run.adapters.iterdir()}
    lie(run, 3)
    with pytest.raises(SpecMismatch, match="adapter version 3 does not act as it did"):
        lockstep(run.path, 4)
    assert run.closed_episodes() == [1, 2, 3]
    assert not run.partial_episodes()
    for name, content in true.items():
        (run.adapters / name).write_bytes(content)
    lockstep(run.path, 4)
    assert numbers(run.adapters) == [1, 2, 3, 4]


@pytest.mark.timeout(120)
def test_in_real_time_too_and_once_it_is_put_right_the_run_goes_on(tmp_path: Path) -> None:
    run = lockstep(short_run(tmp_path).path, 3)
    manifest = run.adapters / "000003.json"
    true = manifest.read_bytes(), manifest.with_suffix(".safetensors").read_bytes()
    assert len(json.loads(true[0])["golden"]["output"]["steer"]) > 0
    lie(run, 3)
    with started(run, 4) as realtime:
        status, output = realtime.finish(45)
    assert status == 2
    assert "adapter version 3 does not act as it did" in output.replace("\n", " ")
    assert sorted(labels(run)) == [1, 2, 3]
    manifest.write_bytes(true[0])
    with started(run, 4) as realtime:
        status, output = realtime.finish(45)
    assert status == 0, output
    assert sorted(labels(run)) == [1, 2, 3, 4]
