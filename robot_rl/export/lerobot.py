"""A LeRobotDataset v3.0 on disk: its published layout, written whole or not at all.

OUT/meta/info.json                                    what the dataset is: rate, features, counts, where files are
    meta/stats.json                                   of each feature, for normalisation
    meta/tasks.parquet                                task in words -> task_index
    meta/episodes/chunk-000/file-000.parquet          a row per episode: where its frames are, its statistics
    data/chunk-000/file-000.parquet                   a row per frame; a file holds whole episodes, up to `FILE_MB`

    videos/KEY/chunk-000/file-000.mp4                 of each camera; a file holds whole episodes, up to `VIDEO_MB`

Cameras are `video` features, which is how the library records and what its users expect: about a third of the JPEG
files' size, with some loss. The layout's other way, `image` features, keeps the JPEG files as they were recorded,
within the rows of `data/`, and has no videos/.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from robot_rl.errors import IntegrityError, SpecMismatch, StoreError
from robot_rl.export.frames import Frames
from robot_rl.export.pictures import decoded, decoded_all
from robot_rl.export.statistics import Histogram, of_numbers, of_pictures
from robot_rl.store.files import sync_directory, sync_file, write_json
from robot_rl.types import Array

if TYPE_CHECKING:  # imported when there is a video: images are exported without PyAV
    from robot_rl.export.video import VideoFiles

VERSION = "v3.0"
CHUNK_FILES = 1000
"""Files of a folder chunk-NNN."""
FILE_MB, VIDEO_MB = 100, 200
"""Most that a file of data/ or videos/ holds, unless a single episode is larger."""
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CAMERA = "observation.images."
NAME = re.compile(r"[\w.-]+")
"""Of a camera: it becomes a folder's, and the library allows no slash in it."""
STATS_FRAMES = 8
"""`image` features: pictures of an episode that are decoded for statistics."""
_NUMBERS = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}


@dataclass(frozen=True)
class Episode:
    """One episode to write."""

    frames: Frames
    success: bool


@dataclass
class _Totals:
    """What is known of the dataset when its last episode is written."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Of meta/episodes."""
    samples: dict[str, list[Array]] = field(default_factory=dict)
    """Feature of numbers -> [n, D] per episode, for the statistics of all."""
    seen: dict[str, Histogram] = field(default_factory=dict)
    """Feature of a camera -> its pictures, for the statistics of all."""
    frames: int = 0


def write_dataset(
    out: Path, episodes: Iterable[Episode], *, fps: int, task: str, action_names: Sequence[str], images: bool = False
) -> dict[str, Any]:
    """Write `episodes` to `out`, which must not exist; returns what info.json says.

    Cameras become video, or with `images` keep their JPEG files. One episode at a time is in memory.

    Raises `StoreError` when there is something at `out`, no episode has a frame, or the disk refuses, `SpecMismatch`
    for episodes with different features, and what `video.VideoFiles.write` raises. Nothing is left at `out` then.
    """
    if os.path.lexists(out):
        raise StoreError(f"{out} is there already: a dataset is written to a new place; choose another")
    temporary = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    held = -1
    try:
        _remove_stale(out)
        temporary.mkdir(parents=True)
        held = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(held, fcntl.LOCK_EX)
        info = _write(temporary, episodes, fps, task, action_names, images)
        _sync(temporary)
        os.rename(temporary, out)
        sync_directory(out.parent)
    except OSError as error:
        raise StoreError(f"cannot write the dataset {out}: {error.strerror or error}; nothing is left there") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if held >= 0:
            os.close(held)
    return info


def _remove_stale(out: Path) -> None:
    """What exports to the same place left when they were killed; one that is at work has its folder locked."""
    form = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.tmp")
    for name in os.listdir(out.parent) if out.parent.is_dir() else ():
        if not form.fullmatch(name):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(out.parent / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(out.parent / name, ignore_errors=True)
            finally:
                os.close(descriptor)


def _write(
    root: Path, episodes: Iterable[Episode], fps: int, task: str, action_names: Sequence[str], images: bool
) -> dict[str, Any]:
    features: dict[str, Any] = {}
    totals = _Totals()
    videos: dict[str, VideoFiles] = {}
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(_DataFiles(root))
        for index, episode in enumerate(episodes):
            found = features_of(episode.frames, action_names, images=images)
            if not features:
                features = found
                for key in (key for key in features if features[key]["dtype"] == "video"):
                    videos[key] = stack.enter_context(_video_files(root, key, fps))
            if found != features:
                differs = sorted(k for k in {*found, *features} if found.get(k) != features.get(k))
                raise SpecMismatch(f"episode {index}: {differs} are not what they were before; export them apart")
            columns = _columns(episode, index, totals.frames, fps)
            place: dict[str, Any] = {}
            for key, video in videos.items():
                jpegs, seen = columns.pop(key), Histogram()
                at = video.write(seen.counted(decoded_all(jpegs, key, features[key]["shape"])))
                place |= _place(f"videos/{key}", at.file)
                place |= {f"videos/{key}/from_timestamp": at.from_s, f"videos/{key}/to_timestamp": at.to_s}
                columns[key] = seen
            rows = [key for key in features if key not in videos]
            table = pa.table([_arrow(columns[key], features[key]) for key in rows], rows)
            place |= _place("data", files.write(table))
            _count(totals, columns, features, index, task, place)
    if not totals.frames:
        raise StoreError("no episode has a frame to export; expected control steps in at least one")
    features = {k: v | {"info": videos[k].info} if k in videos else v for k, v in features.items()}
    info = {
        "codebase_version": VERSION,
        "robot_type": None,
        "total_episodes": len(totals.rows),
        "total_frames": totals.frames,
        "total_tasks": 1,
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": FILE_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "fps": fps,
        "splits": {"train": f"0:{len(totals.rows)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if videos else None,
        "features": features,
    }
    path = root / EPISODES_PATH.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(totals.rows), path)
    parquet.write_table(_tasks([task]), root / "meta/tasks.parquet")
    stats = {key: of_numbers(np.concatenate(parts)) for key, parts in totals.samples.items()}
    stats |= {key: of_pictures(seen) for key, seen in totals.seen.items()}
    write_json(root / "meta/stats.json", {key: stats[key] for key in features})
    write_json(root / "meta/info.json", info)
    return info


def features_of(frames: Frames, action_names: Sequence[str], *, images: bool) -> dict[str, Any]:
    """The features of a dataset of such frames, in the order of its columns.

    Raises `IntegrityError` for a camera whose name is no name of a folder, or whose first frame is no picture.
    """

    def feature(dtype: str, names: Sequence[str] | None = None) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [len(names) if names else 1], "names": list(names) if names else None}

    features = {"observation.state": feature("float32", frames.state_names)}
    if frames.extra_names:
        features["observation.environment_state"] = feature("float32", frames.extra_names)
    for camera, pictures in sorted(frames.images.items()):
        if not NAME.fullmatch(camera):
            raise IntegrityError(
                f"camera {camera!r}: expected a name of letters, digits, '_', '-' and '.'; not exported"
            )
        features[f"{CAMERA}{camera}"] = {
            "dtype": "image" if images else "video",
            "shape": list(decoded(pictures[0], camera).shape),
            "names": ["height", "width", "channels"],
        }
    return features | {
        "action": feature("float32", action_names),
        "next.reward": feature("float32"),
        "next.done": feature("bool"),
        "next.success": feature("bool"),
        "timestamp": feature("float32"),
        **{name: feature("int64") for name in ("frame_index", "episode_index", "index", "task_index")},
    }


def _columns(episode: Episode, index: int, first: int, fps: int) -> dict[str, Any]:
    """Feature -> [N, D], or [N] of a scalar one, or N JPEG files; the last frame says how the episode ended."""
    frames = episode.frames
    n = len(frames)
    last = np.arange(n) == n - 1
    won = last & episode.success
    return {
        "observation.state": frames.state,
        "observation.environment_state": frames.extra,
        **{f"{CAMERA}{camera}": pictures for camera, pictures in frames.images.items()},
        "action": frames.action,
        "next.reward": won.astype(np.float32),
        "next.done": last,
        "next.success": won,
        "timestamp": (np.arange(n) / fps).astype(np.float32),
        "frame_index": np.arange(n),
        "episode_index": np.full(n, index),
        "index": np.arange(first, first + n),
        "task_index": np.zeros(n, np.int64),
    }


def _arrow(values: Any, feature: Mapping[str, Any]) -> pa.Array:
    if feature["dtype"] == "image":
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        return pa.array([{"bytes": jpeg, "path": None} for jpeg in values], kind)
    kind = _NUMBERS[feature["dtype"]]
    if values.ndim == 1:
        return pa.array(values, kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), values.shape[1])


class _DataFiles:
    """data/: one open file at a time, a row group per episode."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._number = -1
        self._file: BinaryIO | None = None
        self._writer: parquet.ParquetWriter | None = None

    def __enter__(self) -> _DataFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, table: pa.Table) -> int:
        """Append an episode; returns its file's number, counted from 0."""
        if self._file is None or self._file.tell() + table.nbytes > FILE_MB * 2**20:
            self._close()
            self._number += 1
            chunk, number = divmod(self._number, CHUNK_FILES)
            path = self._root / DATA_PATH.format(chunk_index=chunk, file_index=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb")
            self._writer = parquet.ParquetWriter(self._file, table.schema)
        assert self._writer is not None  # opened with the file
        self._writer.write_table(table)
        return self._number

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


def _video_files(root: Path, key: str, fps: int) -> VideoFiles:
    from robot_rl.export.video import VideoFiles

    def path(number: int) -> Path:
        chunk, file = divmod(number, CHUNK_FILES)
        return root / VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file)

    return VideoFiles(path, key, fps, file_bytes=int(VIDEO_MB * 2**20))


def _place(what: str, number: int) -> dict[str, int]:
    """The columns of meta/episodes that name a file."""
    chunk, file = divmod(number, CHUNK_FILES)
    return {f"{what}/chunk_index": chunk, f"{what}/file_index": file}


def _count(
    totals: _Totals,
    columns: Mapping[str, Any],
    features: Mapping[str, Any],
    index: int,
    task: str,
    place: Mapping[str, Any],
) -> None:
    """Remember an episode that was written: its row, and what the statistics of all need of it."""
    n = len(columns["index"])
    row: dict[str, Any] = {
        "episode_index": index,
        "tasks": [task],
        "length": n,
        **place,
        "dataset_from_index": totals.frames,
        "dataset_to_index": totals.frames + n,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    for key, feature in features.items():
        values = columns[key]
        if feature["dtype"] == "image":
            values = Histogram()
            for jpeg in columns[key][:: max(1, n // STATS_FRAMES)]:
                values.add(decoded(jpeg, key))
        if isinstance(values, Histogram):
            totals.seen.setdefault(key, Histogram()).merge(values)
            stats = of_pictures(values)
        else:
            totals.samples.setdefault(key, []).append(values)
            stats = of_numbers(values)
        row |= {f"stats/{key}/{name}": value for name, value in stats.items()}
    totals.rows.append(row)
    totals.frames += n


def _tasks(tasks: Sequence[str]) -> pa.Table:
    """As pandas writes a frame with a column task_index and the tasks as its index: readers look tasks up in that."""
    index = "__index_level_0__"
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    column = {"metadata": None, "name": None, "field_name": None}
    described = {
        "index_columns": [index],
        "column_indexes": [
            {**column, "pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}
        ],
        "columns": [
            {**column, "name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
            {**column, "field_name": index, "pandas_type": "unicode", "numpy_type": "object"},
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(described)})


def _sync(root: Path) -> None:
    """Return when all of it is on the disk."""
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                sync_file(file.fileno())
        sync_directory(Path(folder))
