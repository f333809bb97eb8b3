"""What an evaluation leaves behind."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from robot_rl.adapters.files import write_weights
from robot_rl.compositions.plan import new_run, open_run
from robot_rl.compositions.report import evaluate_and_show
from robot_rl.learn.run_learner import learner_of
from robot_rl.store.labels import LabelLog
from robot_rl.types import Label, LabelValue
from tests.small_task import write_small_task


def test_an_older_version_is_evaluated_beside_the_newest_and_not_in_its_place(tmp_path: Path) -> None:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    run, _, task, _ = open_run(tmp_path / "run")
    learner = learner_of(run, task)
    for version in (1, 2):
        write_weights(run.adapters, version, learner.actor_arrays(), {**learner.manifest(), "version": version})
    log = LabelLog(run.labels)
    log.add(Label("a", 1, LabelValue.SUCCESS, "ada"))
    log.close()

    def evaluated(version: int | None) -> dict[str, bytes]:
        evaluate_and_show(
            run.path, trials=1, seed=3, version=version, world="twin", console=Console(file=io.StringIO())
        )
        return {path.name: path.read_bytes() for path in run.results.iterdir() if path.is_file()}

    newest = evaluated(None)
    assert {"evaluation-twin-3.json", "curve.png"} <= set(newest)
    older = evaluated(1)
    assert older.items() >= newest.items()
    assert json.loads(older["evaluation-twin-3-v1.json"])["adapter_version"] == 1
    assert set(evaluated(2)) == set(older)
