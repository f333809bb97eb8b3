"""The dataset on disk, read as its layout is published: by info.json alone, with pyarrow and PyAV."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from robot_rl.errors import IntegrityError, SpecMismatch, StoreError
from robot_rl.export import lerobot
from robot_rl.export.frames import Frames
from robot_rl.export.lerobot import Episode, write_dataset
from robot_rl.export.pictures import decoded
from robot_rl.types import Array
from tests.export.reader import Reader
from tests.pictures import jpeg, noise

ACTION = ("dx", "dy", "dz", "gripper")
LENGTHS = (7, 3, 12)


def frames(
    n: int, seed: int, *, cameras: tuple[str, ...] = (), extra: int = 2, size: tuple[int, int] = (32, 24)
) -> Frames:
    rng = np.random.default_rng(seed)
    return Frames(
        state=rng.standard_normal((n, 15)).astype(np.float32),
        action=rng.standard_normal((n, 4)).astype(np.float32),
        extra=rng.standard_normal((n, extra)).astype(np.float32),
        extra_names=tuple(f"bin.{i}" for i in range(extra)),
        images={camera: [jpeg(10 * i + seed, size) for i in range(n)] for camera in cameras},
    )


def episodes(**shape: Any) -> list[Episode]:
    return [Episode(frames(n, seed, **shape), success=seed != 1) for seed, n in enumerate(LENGTHS)]


def write(out: Path, given: Iterator[Episode] | list[Episode], *, images: bool = True) -> dict[str, Any]:
    return write_dataset(out, given, fps=20, task="Open the lid", action_names=ACTION, images=images)


@pytest.fixture
def dataset(tmp_path: Path) -> Reader:
    """Cameras as images."""
    write(tmp_path / "out", episodes(cameras=("front", "wrist")))
    return Reader(tmp_path / "out")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """The same with cameras as video."""
    out = tmp_path_factory.mktemp("filmed") / "out"
    write(out, episodes(cameras=("front", "wrist")), images=False)
    return Reader(out)


def test_every_file_of_the_layout_is_where_it_belongs(dataset: Reader) -> None:
    found = {str(path.relative_to(dataset.root)) for path in dataset.root.rglob("*") if path.is_file()}
    assert found == {
        "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/episodes/chunk-000/file-000.parquet",
        "data/chunk-000/file-000.parquet",
    }  # fmt: skip


def test_info_counts_and_describes(dataset: Reader) -> None:
    info = dataset.info
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 20)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, sum(LENGTHS), 1)
    assert info["splits"] == {"train": "0:3"}
    assert set(info) == {
        "codebase_version", "robot_type", "total_episodes", "total_frames", "total_tasks", "chunks_size",
        "data_files_size_in_mb", "video_files_size_in_mb", "fps", "splits", "data_path", "video_path", "features",
    }  # fmt: skip
    assert info["video_path"] is None
    features = info["features"]
    assert features["action"] == {"dtype": "float32", "shape": [4], "names": list(ACTION)}
    assert features["observation.images.wrist"]["shape"] == [24, 32, 3]
    assert features["next.reward"] == {"dtype": "float32", "shape": [1], "names": None}
    assert features["index"]["dtype"] == "int64"


def test_frames_come_back_as_they_were_given(dataset: Reader) -> None:
    for index, given in enumerate(episodes(cameras=("front", "wrist"))):
        n, read = LENGTHS[index], dataset.episode(index)
        assert set(read) == set(dataset.info["features"])
        np.testing.assert_array_equal(np.array(read["observation.state"], np.float32), given.frames.state)
        np.testing.assert_array_equal(np.array(read["observation.environment_state"], np.float32), given.frames.extra)
        np.testing.assert_array_equal(np.array(read["action"], np.float32), given.frames.action)
        assert [cell["bytes"] for cell in read["observation.images.front"]] == given.frames.images["front"]
        assert read["next.done"] == [False] * (n - 1) + [True]
        assert read["next.success"] == [False] * (n - 1) + [given.success]
        assert read["next.reward"] == [0.0] * (n - 1) + [float(given.success)]
        assert read["frame_index"] == list(range(n))
        assert read["task_index"] == [0] * n
        np.testing.assert_allclose(np.diff(read["timestamp"]), 1 / 20, atol=1e-4)


def test_episodes_are_found_by_their_rows(dataset: Reader) -> None:
    first = 0
    for index, row in enumerate(dataset.episodes):
        assert (row["episode_index"], row["length"], row["tasks"]) == (index, LENGTHS[index], ["Open the lid"])
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (first, first + LENGTHS[index])
        assert (row["meta/episodes/chunk_index"], row["meta/episodes/file_index"]) == (0, 0)
        assert dataset.episode(index)["index"] == list(range(first, first + LENGTHS[index]))
        first += LENGTHS[index]


def test_columns_have_the_types_of_their_features(dataset: Reader) -> None:
    schema = parquet.read_schema(dataset.root / "data/chunk-000/file-000.parquet")
    assert str(schema.field("observation.state").type) == "fixed_size_list<element: float>[15]"
    assert [str(schema.field(name).type) for name in ("next.reward", "next.done", "index")] == [
        "float",
        "bool",
        "int64",
    ]
    assert str(schema.field("observation.images.front").type) == "struct<bytes: binary, path: string>"


def test_statistics_are_those_of_the_frames(dataset: Reader) -> None:
    everything = np.concatenate([episode.frames.state for episode in episodes()]).astype(np.float64)
    stats = dataset.stats["observation.state"]
    np.testing.assert_allclose(stats["mean"], everything.mean(0))
    np.testing.assert_allclose(stats["std"], everything.std(0))
    np.testing.assert_allclose(stats["q90"], np.quantile(everything, 0.9, axis=0))
    assert stats["count"] == [sum(LENGTHS)]
    assert set(stats) == {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
    np.testing.assert_allclose(dataset.episodes[1]["stats/action/max"], episodes()[1].frames.action.max(0))
    assert dataset.stats["next.reward"]["max"] == [1.0]
    assert set(dataset.stats) == set(dataset.info["features"])


def test_pictures_have_statistics_of_their_channels(dataset: Reader) -> None:
    stats = dataset.stats["observation.images.front"]
    assert np.array(stats["mean"]).shape == (3, 1, 1)
    assert 0 <= stats["min"][0][0][0] < stats["mean"][0][0][0] < stats["max"][0][0][0] < 0.5
    row = dataset.episodes[1]
    assert row["stats/observation.images.front/count"] == [3]
    np.testing.assert_allclose(row["stats/observation.images.front/mean"], np.full((3, 1, 1), 11 / 255), atol=0.01)


def test_a_camera_is_a_video_beside_the_rows(filmed: Reader) -> None:
    found = {str(path.relative_to(filmed.root)) for path in filmed.root.rglob("*") if path.is_file()}
    videos = {f"videos/observation.images.{camera}/chunk-000/file-000.mp4" for camera in ("front", "wrist")}
    assert {name for name in found if name.startswith("videos/")} == videos
    assert filmed.info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    assert filmed.info["features"]["observation.images.front"] == {
        "dtype": "video", "shape": [24, 32, 3], "names": ["height", "width", "channels"],
        "info": {
            "video.height": 24, "video.width": 32, "video.codec": "av1", "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False, "video.fps": 20, "video.channels": 3, "has_audio": False,
        },
    }  # fmt: skip
    assert set(filmed.episode(0)) == {name for name in filmed.info["features"] if "images" not in name}


def test_frames_of_a_video_are_the_recorded_ones_at_their_times(filmed: Reader) -> None:
    for index, given in enumerate(episodes(cameras=("front", "wrist"))):
        for camera in ("front", "wrist"):
            seen = filmed.video(index, f"observation.images.{camera}")
            recorded = np.stack([decoded(picture, camera) for picture in given.frames.images[camera]])
            assert seen.shape == recorded.shape == (LENGTHS[index], 24, 32, 3)
            assert np.abs(seen.astype(int) - recorded).max() <= 4  # frames are 10 levels apart
        np.testing.assert_array_equal(np.array(filmed.episode(index)["action"], np.float32), given.frames.action)


def test_episodes_follow_one_another_in_a_video(filmed: Reader) -> None:
    first = 0
    for index, row in enumerate(filmed.episodes):
        ends = [row[f"videos/observation.images.wrist/{name}"] for name in ("from_timestamp", "to_timestamp")]
        np.testing.assert_allclose(ends, [first / 20, (first + LENGTHS[index]) / 20])
        assert {row[f"videos/observation.images.wrist/{name}"] for name in ("chunk_index", "file_index")} == {0}
        first += LENGTHS[index]


def test_a_video_has_the_statistics_of_its_pictures(filmed: Reader) -> None:
    stats = filmed.stats["observation.images.front"]
    levels = np.concatenate([10 * np.arange(n) + seed for seed, n in enumerate(LENGTHS)]) / 255
    assert stats["count"] == [sum(LENGTHS)]
    for name, expected in (("mean", levels.mean()), ("std", levels.std()), ("min", 0), ("max", levels.max())):
        np.testing.assert_allclose(stats[name], np.full((3, 1, 1), expected), atol=0.005)
    assert set(stats) == set(filmed.stats["action"])
    row = filmed.episodes[1]
    assert row["stats/observation.images.front/count"] == [3]
    np.testing.assert_allclose(row["stats/observation.images.front/mean"], np.full((3, 1, 1), 11 / 255), atol=0.005)


def test_the_task_is_the_index_of_its_table(dataset: Reader) -> None:
    assert dataset.tasks["task_index"].to_pylist() == [0]
    (index,) = dataset.tasks.schema.pandas_metadata["index_columns"]
    assert dataset.tasks[index].to_pylist() == ["Open the lid"]


def test_without_cameras_or_extras_there_are_no_such_features(tmp_path: Path) -> None:
    write(tmp_path / "out", episodes(extra=0))
    names = Reader(tmp_path / "out").info["features"]
    assert not [name for name in names if "image" in name or "environment" in name]


def test_a_file_that_is_full_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot, "FILE_MB", 0.001)
    monkeypatch.setattr(lerobot, "CHUNK_FILES", 2)
    write(tmp_path / "out", episodes())
    reader = Reader(tmp_path / "out")
    places = [(row["data/chunk_index"], row["data/file_index"]) for row in reader.episodes]
    assert places == [(0, 0), (0, 1), (1, 0)]
    for index, given in enumerate(episodes()):
        np.testing.assert_array_equal(np.array(reader.episode(index)["action"], np.float32), given.frames.action)


def test_a_video_that_is_full_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot, "VIDEO_MB", 0.0001)
    monkeypatch.setattr(lerobot, "CHUNK_FILES", 2)
    write(tmp_path / "out", episodes(cameras=("front",)), images=False)
    reader, key = Reader(tmp_path / "out"), "observation.images.front"
    places = [(row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]) for row in reader.episodes]
    assert places == [(0, 0), (0, 1), (1, 0)]
    assert [row[f"videos/{key}/from_timestamp"] for row in reader.episodes] == [0, 0, 0]
    assert [len(reader.video(index, key)) for index in range(3)] == list(LENGTHS)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "link"):
        with pytest.raises(StoreError, match="is there already"):
            write(tmp_path / name, episodes())
    assert left(tmp_path) == ["link", "out"]


def test_a_dataset_that_fails_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Iterator[Episode]:
        yield episodes()[0]
        raise IntegrityError("damaged")

    with pytest.raises(IntegrityError, match="damaged"):
        write(tmp_path / "out", fails())
    with pytest.raises(StoreError, match="no episode has a frame"):
        write(tmp_path / "out", [])
    with pytest.raises(StoreError, match="cannot write the dataset"):
        write(Path("/proc/out"), episodes())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lerobot, "sync_file", full)
    with pytest.raises(StoreError, match="No space left"):
        write(tmp_path / "out", episodes())
    assert left(tmp_path) == []


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_disk_that_is_full_within_a_video_leaves_nothing(tmp_path: Path, share: float) -> None:
    """`share` of a file of video fits: it ends among the frames, or with the index at the end."""
    given = [Episode(replace(frames(4, 0), images={"front": [noise(i) for i in range(4)]}), True)] * 3
    write(tmp_path / "whole", given, images=False)
    video, rows = (next((tmp_path / "whole").rglob(name)) for name in ("*.mp4", "data/*/*.parquet"))
    assert video.stat().st_size > 2**16 > 2 * rows.stat().st_size  # it is the video that does not fit
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * video.stat().st_size), limits[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot write the dataset .*File too large"):
            write(tmp_path / "out", given, images=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert left(tmp_path) == ["whole"]


def test_episodes_that_do_not_go_together_are_refused_by_name(tmp_path: Path) -> None:
    for other, words in (
        (frames(4, 5), r"episode 1: \['observation.images.front'\]"),
        (frames(4, 5, cameras=("front",), size=(64, 48)), "observation.images.front"),
        (frames(4, 5, cameras=("front",), extra=3), "observation.environment_state"),
    ):
        with pytest.raises(SpecMismatch, match=words):
            write(tmp_path / "out", [Episode(frames(3, 1, cameras=("front",)), True), Episode(other, True)])
    mixed = frames(2, 0, cameras=("front",))
    sizes = {"front": [jpeg(0), jpeg(0, (64, 48))]}
    with pytest.raises(SpecMismatch, match=r"expected pictures of \[24, 32, 3\], as the first, got \[48, 64, 3\]"):
        write(tmp_path / "out", [Episode(replace(mixed, images=sizes), True)], images=False)
    with pytest.raises(IntegrityError, match=r"camera '\.\./up': expected a name"):
        write(tmp_path / "out", [Episode(frames(2, 0, cameras=("../up",)), True)])
    broken = frames(2, 0, cameras=("front",))
    pictures: Array = np.zeros(10, np.uint8)
    with pytest.raises(IntegrityError, match="no JPEG picture"):
        write(
            tmp_path / "out",
            [
                Episode(
                    Frames(
                        broken.state,
                        broken.action,
                        broken.extra,
                        broken.extra_names,
                        {"front": [pictures.tobytes()] * 2},
                    ),
                    True,
                )
            ],
        )
    assert left(tmp_path) == []


def test_what_a_killed_export_left_is_removed_and_one_at_work_is_let_be(tmp_path: Path) -> None:
    killed, at_work = tmp_path / ".out.0123abcd.tmp", tmp_path / ".out.4567cdef.tmp"
    others = [tmp_path / name for name in (".out2.0123abcd.tmp", ".out.notes.tmp")]
    for folder in (killed, at_work, *others):
        (folder / "data").mkdir(parents=True)
    held = os.open(at_work, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="no episode has a frame"):
            write_dataset(tmp_path / "out", [], fps=20, task="t", action_names=ACTION)
    finally:
        os.close(held)
    assert sorted(tmp_path.iterdir()) == sorted([at_work, *others])
