"""What a run knows before it moves: its base line, and whether a resumed one is what was asked for."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from robot_rl.compositions.adapting import AdaptRequest, adapt
from robot_rl.compositions.plan import LOCKSTEP, REAL_TIME, new_run, open_run
from robot_rl.compositions.running import RunRequest, baseline, plan_run, run_task
from robot_rl.errors import ConfigError, IntegrityError, RobotRLError
from tests.small_task import write_small_task


@pytest.fixture
def run(tmp_path: Path) -> Path:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {"label": None})
    return tmp_path / "run"


def measure(path: Path) -> tuple[int, int]:
    directory, info, task, policy = open_run(path)
    rate = baseline(directory, info, task, policy, Console(file=io.StringIO()))
    return rate.successes, rate.trials


def test_the_base_line_is_measured_once(run: Path) -> None:
    first = measure(run)
    file = run / "results" / "base.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps(known | {"successes": (first[0] + 1) % (first[1] + 1)}))
    assert measure(run) != first  # what the file says counts: nothing was measured again


@pytest.mark.parametrize(("port", "trials", "measured"), [(0, 0, False), (None, 5, False), (0, 5, True)])
def test_no_trials_means_none_before_the_run_either(run: Path, port: int | None, trials: int, measured: bool) -> None:
    plan = plan_run(RunRequest(resume=run, console_port=port, trials=trials), Console(file=io.StringIO()))
    assert (plan.base_success is not None) is measured
    assert (run / "results" / "base.json").exists() is measured


def test_a_run_whose_way_to_compute_is_damaged_does_not_go_on(run: Path) -> None:
    (run / "compute.json").write_text("{cut")
    with pytest.raises(IntegrityError, match="delete it to have that decided anew"):
        plan_run(RunRequest(resume=run), Console(file=io.StringIO()))


@pytest.mark.parametrize(
    "spoilt", [{}, {"policy": "another"}, {"trials": 4}, {"successes": 99}, {"successes": "many"}, {"seed": 1}, None]
)
def test_a_base_line_of_something_else_is_not_believed(run: Path, spoilt: dict[str, Any] | None) -> None:
    first = measure(run)
    file = run / "results" / "base.json"
    known = json.loads(file.read_text())
    file.write_text("{" if spoilt is None else json.dumps(known | spoilt if spoilt else {}))
    assert measure(run) == first
    assert json.loads(file.read_text()) == known


def test_a_plan_says_what_the_pace_auto_stands_for(run: Path) -> None:
    assert plan_run(RunRequest(resume=run), Console(file=io.StringIO())).pace == LOCKSTEP
    without = RunRequest(resume=run, learner=False)
    assert plan_run(without, Console(file=io.StringIO())).pace == REAL_TIME


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"method": "dsrl-na"}, "method 'dsrl-na'"),
        ({"seed": 3}, "seed 3"),
        ({"label": "human"}, "label 'human'"),
        ({"pace": "real-time"}, "pace 'real-time'"),
        ({"hw": "protocol_twin"}, "hw 'protocol_twin'"),
        ({"task": "lid_opening"}, "task 'lid_opening'"),
        ({"out": Path("elsewhere")}, "--out elsewhere"),
    ],
)
def test_a_resumed_run_keeps_its_settings_and_says_so(run: Path, asked: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        run_task(replace(RunRequest(resume=run), **asked), Console(file=io.StringIO()))


def test_a_resumed_run_may_be_given_the_file_that_it_was_begun_with(run: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_bytes((run / "task.yaml").read_bytes())
    assert plan_run(RunRequest(resume=run, task=str(odd)), Console(file=io.StringIO())).run.path == run


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"hw": "franka"}, "hw franka: it has no cameras"),
        ({"hw": "frank"}, "there is no 'frank'; did you mean 'franka'"),
        ({"hw": "protocol_twin", "pace": "lockstep"}, "--hw protocol_twin: it moves in real time"),
    ],
)
def test_a_robot_that_cannot_be_meant_is_refused_before_anything_is_made(
    tmp_path: Path, asked: dict[str, Any], reason: str
) -> None:
    task = str(write_small_task(tmp_path))
    with pytest.raises(ConfigError, match=reason):
        run_task(RunRequest(task=task, out=tmp_path / "run", **asked), Console(file=io.StringIO()))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("begin", "request_of"), [(run_task, RunRequest), (adapt, AdaptRequest)])
@pytest.mark.parametrize(
    ("method", "settings", "reason"),
    [
        ("zprl", {"latent_scale": 0}, "zprl steers the latent, and by latent_scale there is nothing to steer"),
        ("rlpd", {"demonstrations": "not_there.npz"}, "not_there.npz: not demonstrations that can be used"),
    ],
)
def test_a_run_that_no_learner_could_learn_from_is_refused_before_anything_is_made(
    tmp_path: Path, begin: Any, request_of: Any, method: str, settings: dict[str, Any], reason: str
) -> None:
    task = write_small_task(tmp_path)
    raw = yaml.safe_load(task.read_text())
    raw["methods"][method] |= settings
    task.write_text(yaml.safe_dump(raw))
    asked = request_of(task=str(task), method=method, out=tmp_path / "run")
    with pytest.raises(RobotRLError, match=reason):
        begin(asked, Console(file=io.StringIO()))
    assert not (tmp_path / "run").exists()


def test_demonstrations_are_looked_for_where_the_learner_is(tmp_path: Path) -> None:
    """A run without one here may have them on another machine."""
    task = write_small_task(tmp_path)
    raw = yaml.safe_load(task.read_text())
    raw["methods"]["rlpd"]["demonstrations"] = "/only/on/the/learner.npz"
    task.write_text(yaml.safe_dump(raw))
    asked = RunRequest(task=str(task), method="rlpd", out=tmp_path / "run", learner=False)
    assert plan_run(asked, Console(file=io.StringIO())).run.path == tmp_path / "run"
