"""A run's export: what its episodes hold, labels folded in, what cannot be used left out and counted."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from rich.console import Console

from robot_rl.clock import SECOND
from robot_rl.compositions.export_lerobot import export_and_show
from robot_rl.compositions.plan import new_run
from robot_rl.errors import StoreError
from robot_rl.store.episode import EpisodeHeader, EpisodeOutcome, EpisodeWriter
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.types import Label, LabelValue
from tests.pictures import jpeg
from tests.small_task import write_small_task

STEPS = 21


def record(run: RunDirectory, episode: int, steps: int, label: LabelValue) -> None:
    """An episode of `steps` control steps and of a camera at 30 Hz."""
    info = run.read_info()
    header = EpisodeHeader(episode, "small", "usr", "flow", info.spec_hash, 0, 0, 0, "0.1.0")
    writer = EpisodeWriter(run, header)
    stamps = [(f"/camera/{i}", round(i * SECOND / 30)) for i in range(int(steps * 1.5))]
    stamps += [("/steps", (1 + i) * SECOND // 20) for i in range(steps)]
    for topic, stamp in sorted(stamps, key=lambda entry: entry[1]):
        if topic == "/steps":
            body = {"sent": [0.001, 0, 0, 0.04], "tcp_pose": [0.4, 0, 0.5, 0, 0, 0, 1], "gripper_width": 0.04}
            writer.write(topic, stamp, {**body, "q": [0.0] * 7, "extra": {"bin_pose": [0.6, 0, 0.3, 0.1]}})
        else:
            writer.write_image("front", stamp, jpeg(episode))
    writer.close(EpisodeOutcome("timeout", steps, False, True, True, {"pass": steps}))
    log = LabelLog(run.labels)
    log.add(Label(f"label-{episode}", episode, label, "test"))
    log.close()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    return RunDirectory.open(tmp_path / "run")


def export(run: RunDirectory, out: Path, fps: int | None = None) -> tuple[dict[str, Any], str]:
    """Its last line as JSON, and all that it printed."""
    text = io.StringIO()
    export_and_show(run.path, out, fps, Console(file=text, width=160))
    return json.loads(text.getvalue().splitlines()[-1]), text.getvalue()


def test_labelled_episodes_become_a_dataset_and_the_others_are_counted(run: RunDirectory, tmp_path: Path) -> None:
    values = {1: LabelValue.FAILURE, 2: LabelValue.DISCARD, 3: LabelValue.SUCCESS, 4: LabelValue.SUCCESS}
    for episode, value in values.items():
        record(run, episode, 1 if episode == 4 else STEPS, value)
    results, printed = export(run, tmp_path / "out")
    assert (results["episodes"], results["successes"], results["left_out"]) == (2, 1, 2)
    assert (results["frames"], results["fps"]) == (2 * (STEPS - 1), 20)
    assert results["cameras"] == ["observation.images.front"]
    assert "left out: 1, discarded by its label" in printed
    assert "expected two recorded control steps at least, got 1" in printed
    table = parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    assert table["next.success"].to_pylist().count(True) == 1
    assert table["next.success"][-1].as_py() is True
    assert table["observation.images.front"][-1].as_py()["bytes"] == jpeg(3)


def test_a_damaged_episode_is_left_out_and_said(run: RunDirectory, tmp_path: Path) -> None:
    for episode in (1, 2):
        record(run, episode, STEPS, LabelValue.SUCCESS)
    recording = run.episode(1) / "episode.mcap"
    recording.write_bytes(recording.read_bytes()[:-1])
    results, printed = export(run, tmp_path / "out")
    assert (results["episodes"], results["left_out"]) == (1, 1)
    assert "000001/episode.mcap: expected" in printed


def test_the_declared_rate_is_that_of_the_frames(run: RunDirectory, tmp_path: Path) -> None:
    record(run, 1, STEPS, LabelValue.SUCCESS)
    results, _ = export(run, tmp_path / "out", fps=10)
    assert results["frames"] == (STEPS - 1) // 2
    table = parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    np.testing.assert_allclose(np.diff(table["timestamp"]), 0.1, atol=1e-6)
    np.testing.assert_allclose(np.array(table["action"].to_pylist())[:, 0], 0.002, atol=1e-8)
    assert json.loads((tmp_path / "out/meta/info.json").read_text())["fps"] == 10


def test_a_run_without_labels_has_nothing_to_export(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="label some"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
