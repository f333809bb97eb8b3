"""A run's export: what its episodes hold, labels folded in, what cannot be used left out and counted."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from rich.console import Console

from robot_rl.clock import SECOND
from robot_rl.compositions.export_lerobot import export_and_show
from robot_rl.compositions.plan import new_run
from robot_rl.errors import ConfigError, StoreError
from robot_rl.export.frames import frames_of
from robot_rl.store.episode import (
    EpisodeHeader,
    EpisodeOutcome,
    EpisodeWriter,
    Image,
    read_manifest,
    read_messages,
    write_manifest,
)
from robot_rl.store.labels import LabelLog
from robot_rl.store.run import RunDirectory
from robot_rl.types import Label, LabelValue
from tests.export.reader import Reader
from tests.export.test_frames import SPACE
from tests.ordinary_user import read_only
from tests.pictures import jpeg
from tests.small_task import write_small_task

STEPS = 21


def record(
    run: RunDirectory, episode: int, steps: int, label: LabelValue | None, cameras: tuple[str, ...] = ("front",)
) -> None:
    """An episode of `steps` control steps and of cameras at 30 Hz."""
    info = run.read_info()
    header = EpisodeHeader(episode, "small", "usr", "flow", info.spec_hash, 0, 0, 0, "0.1.0")
    writer = EpisodeWriter(run, header)
    stamps = [(camera, round(i * SECOND / 30)) for camera in cameras for i in range(int(steps * 1.5))]
    stamps += [("/steps", (1 + i) * SECOND // 20) for i in range(steps)]
    for topic, stamp in sorted(stamps, key=lambda entry: entry[1]):
        if topic == "/steps":
            body = {"sent": [0.001, 0, 0, 0.04], "tcp_pose": [0.4, 0, 0.5, 0, 0, 0, 1], "gripper_width": 0.04}
            writer.write(topic, stamp, {**body, "q": [0.0] * 7, "extra": {"bin_pose": [0.6, 0, 0.3, 0.1]}})
        else:
            writer.write_image(topic, stamp, jpeg(episode + 50 * (stamp > SECOND // 2)))
    writer.close(EpisodeOutcome("timeout", steps, False, True, True, {"pass": steps}))
    if label is not None:
        log = LabelLog(run.labels)
        log.add(Label(f"label-{episode}", episode, label, "test"))
        log.close()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    new_run(tmp_path / "run", str(write_small_task(tmp_path)), "usr", 0, {})
    return RunDirectory.open(tmp_path / "run")


def export(
    run: RunDirectory, out: Path, fps: int | None = None, *, images: bool | None = True
) -> tuple[dict[str, Any], str]:
    """Its last line as JSON, and all that it printed."""
    text = io.StringIO()
    export_and_show(run.path, out, fps, images, Console(file=text, width=160))
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
    assert table["observation.images.front"][-1].as_py()["bytes"] == jpeg(53)


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


def test_cameras_are_video_if_not_said_otherwise(run: RunDirectory, tmp_path: Path) -> None:
    for episode in (1, 2):
        record(run, episode, STEPS, LabelValue.SUCCESS)
    results, _ = export(run, tmp_path / "out", images=None)
    assert (results["cameras"], results["cameras_as"]) == (["observation.images.front"], "video")
    reader = Reader(tmp_path / "out")
    for index, episode in enumerate((1, 2)):
        seen = reader.video(index, "observation.images.front")
        assert len(seen) == STEPS - 1
        begin = SECOND // 20  # of the first frame
        later = begin + SECOND // 20 * np.arange(STEPS - 1) > round(16 * SECOND / 30)  # the first frame after 0.5 s
        np.testing.assert_allclose(seen.mean((1, 2, 3)), episode + 50 * later, atol=4)


def test_an_episode_from_before_the_cameras_ran_is_left_out_and_said(run: RunDirectory, tmp_path: Path) -> None:
    seen: dict[int, tuple[str, ...]] = {1: (), 2: ("front", "wrist"), 3: ("front", "wrist", "side"), 4: ("front",)}
    seen |= {5: ("front", "wrist"), 6: ()}
    for episode, cameras in seen.items():
        record(run, episode, STEPS, LabelValue.SUCCESS, cameras)
    results, printed = export(run, tmp_path / "out")
    assert results["cameras"] == ["observation.images.front", "observation.images.wrist"]
    assert (results["episodes"], results["left_out"]) == (3, 3)
    assert (
        "000001: expected frames of each camera as in at least half of the episodes, got none of front, wrist"
        in printed
    )
    assert "000004: expected frames of each camera as in at least half of the episodes, got none of wrist" in printed


def test_a_few_episodes_with_cameras_cost_the_others_nothing(run: RunDirectory, tmp_path: Path) -> None:
    for episode in range(1, 6):
        record(run, episode, STEPS, LabelValue.SUCCESS, ("front",) if episode > 3 else ())
    results, printed = export(run, tmp_path / "out")
    assert (results["episodes"], results["left_out"], results["cameras"]) == (5, 0, [])
    assert "camera front: not exported, 2 of 5 episodes have frames of it" in printed


def test_a_manifest_that_claims_a_camera_costs_its_episode_at_most(run: RunDirectory, tmp_path: Path) -> None:
    for episode in (1, 2):
        record(run, episode, STEPS, LabelValue.SUCCESS, ())
    manifest = read_manifest(run.episode(1))
    write_manifest(run.episode(1), replace(manifest, counts={**manifest.counts, "/camera/front": 7}))
    results, _ = export(run, tmp_path / "without", images=False)
    assert (results["episodes"], results["cameras_as"]) == (2, "none")
    with pytest.raises(StoreError, match=r"expected 7 messages of /camera/front, got 0.*got none of front"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_age_of_pictures_is_said(run: RunDirectory, tmp_path: Path) -> None:
    record(run, 1, STEPS, LabelValue.SUCCESS, ())
    folder = run.episode(1)
    shots = [Image(round(at * SECOND), jpeg(1)) for at in (0.1, 0.15)]
    steps = read_messages(folder, "/steps")
    ages = frames_of(steps, {"front": shots}, SPACE, fps=20, control_hz=20, where="").ages["front"]
    np.testing.assert_allclose(ages, [-0.05, 0, *np.arange(18) / 20], atol=1e-9)
    record(run, 2, STEPS, LabelValue.SUCCESS)
    record(run, 3, STEPS, LabelValue.SUCCESS)
    results, printed = export(run, tmp_path / "out")
    assert results["picture_ages"]["front"]["largest_s"] < 1 / 30
    assert "camera front: its pictures are 0.01 s old in the median, 0.02 s at most" in printed


def test_what_nobody_has_labelled_is_counted(run: RunDirectory, tmp_path: Path) -> None:
    record(run, 1, STEPS, LabelValue.SUCCESS, ())
    record(run, 2, STEPS, None, ())
    results, printed = export(run, tmp_path / "out")
    assert (results["episodes"], results["left_out"]) == (1, 1)
    assert "left out: 1, not labelled" in printed


def test_a_run_that_cannot_be_written_is_exported_elsewhere(run: RunDirectory, tmp_path: Path) -> None:
    record(run, 1, STEPS, LabelValue.SUCCESS, ())
    with read_only(run.path):
        assert export(run, tmp_path / "out")[0]["episodes"] == 1


def test_without_pyav_it_is_said_what_to_install_and_images_are_exported(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(run, 1, STEPS, LabelValue.SUCCESS)
    monkeypatch.delitem(sys.modules, "robot_rl.export.video", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'robot-rl\[export\]', or export them with --images"):
        export(run, tmp_path / "out", images=None)
    assert not (tmp_path / "out").exists()
    assert export(run, tmp_path / "out")[0]["cameras_as"] == "images"


def test_a_run_without_labels_has_nothing_to_export(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="label some"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
