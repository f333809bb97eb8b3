"""A LeRobotDataset v3.0 on disk: its published layout, written whole or not at all.

OUT/meta/info.json                                    what the dataset is: rate, features, counts, where files are
    meta/stats.json                                   of each feature, for normalisation
    meta/tasks.parquet                                task in words -> task_index
    meta/episodes/chunk-000/file-000.parquet          a row per episode: where its frames are, its statistics
    data/chunk-000/file-000.parquet                   a row per frame; a file holds whole episodes, up to `FILE_MB`

Cameras are stored as `image` features: JPEG files as they were recorded, within the rows of `data/`. The layout's other
way, `video` features in `videos/`, would encode them a second time, with loss and with a video encoder to install.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import pyarrow as pa
from pyarrow import parquet

from robot_rl.errors import IntegrityError, SpecMismatch, StoreError
from robot_rl.export.frames import Frames
from robot_rl.store.files import sync_directory, sync_file, write_json
from robot_rl.types import Array

VERSION = "v3.0"
CHUNK_FILES = 1000
"""Files of a folder chunk-NNN."""
FILE_MB = 100
"""Most that a data file holds, unless a single episode is larger."""
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
STATS_FRAMES, STATS_STRIDE = 8, 8
"""Pictures of an episode that are decoded for statistics, and every how many pixels of them are looked at."""
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
    """Feature -> [n, D] per episode, for the statistics of all."""
    pictures: dict[str, int] = field(default_factory=dict)
    """Camera feature -> pictures that were looked at."""
    frames: int = 0


def write_dataset(
    out: Path, episodes: Iterable[Episode], *, fps: int, task: str, action_names: Sequence[str]
) -> dict[str, Any]:
    """Write `episodes` to `out`, which must not exist; returns what info.json says.

    Raises `StoreError` when there is something at `out`, no episode has a frame, or the disk refuses, and
    `SpecMismatch` for episodes with different features. Nothing is left at `out` then.
    """
    if os.path.lexists(out):
        raise StoreError(f"{out} is there already: a dataset is written to a new place; choose another")
    temporary = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    try:
        temporary.mkdir(parents=True)
        info = _write(temporary, episodes, fps, task, action_names)
        _sync(temporary)
        os.rename(temporary, out)
        sync_directory(out.parent)
    except OSError as error:
        raise StoreError(f"cannot write the dataset {out}: {error.strerror or error}; nothing is left there") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return info


def _write(root: Path, episodes: Iterable[Episode], fps: int, task: str, action_names: Sequence[str]) -> dict[str, Any]:
    features: dict[str, Any] = {}
    totals = _Totals()
    with _DataFiles(root) as files:
        for index, episode in enumerate(episodes):
            found = features_of(episode.frames, action_names)
            features = features or found
            if found != features:
                differs = sorted(k for k in {*found, *features} if found.get(k) != features.get(k))
                raise SpecMismatch(f"episode {index}: {differs} are not what they were before; export them apart")
            columns = _columns(episode, index, totals.frames, fps)
            place = files.write(pa.table([_arrow(columns[key], features[key]) for key in features], list(features)))
            _count(totals, columns, features, index, task, place)
    if not totals.frames:
        raise StoreError("no episode has a frame to export; expected control steps in at least one")
    info = {
        "codebase_version": VERSION,
        "robot_type": None,
        "total_episodes": len(totals.rows),
        "total_frames": totals.frames,
        "total_tasks": 1,
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": FILE_MB,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(totals.rows)}"},
        "data_path": DATA_PATH,
        "video_path": None,
        "features": features,
    }
    path = root / EPISODES_PATH.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(totals.rows), path)
    parquet.write_table(_tasks([task]), root / "meta/tasks.parquet")
    pooled = {key: np.concatenate(parts) for key, parts in totals.samples.items()}
    stats = {key: _stats(values, features[key], totals.pictures.get(key)) for key, values in pooled.items()}
    write_json(root / "meta/stats.json", stats)
    write_json(root / "meta/info.json", info)
    return info


def features_of(frames: Frames, action_names: Sequence[str]) -> dict[str, Any]:
    """The features of a dataset of such frames, in the order of its columns."""

    def feature(dtype: str, names: Sequence[str] | None = None) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [len(names) if names else 1], "names": list(names) if names else None}

    features = {"observation.state": feature("float32", frames.state_names)}
    if frames.extra_names:
        features["observation.environment_state"] = feature("float32", frames.extra_names)
    for camera, pictures in sorted(frames.images.items()):
        shape = list(_decoded(pictures[0], camera).shape)
        features[f"observation.images.{camera}"] = {
            "dtype": "image",
            "shape": shape,
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
        **{f"observation.images.{camera}": pictures for camera, pictures in frames.images.items()},
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

    def write(self, table: pa.Table) -> tuple[int, int]:
        """Append an episode; returns its file's (chunk, number)."""
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
        return divmod(self._number, CHUNK_FILES)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()
        self._file = self._writer = None


def _count(
    totals: _Totals,
    columns: Mapping[str, Any],
    features: Mapping[str, Any],
    index: int,
    task: str,
    place: tuple[int, int],
) -> None:
    """Remember an episode that was written: its row, and what the statistics of all need of it."""
    n = len(columns["index"])
    row: dict[str, Any] = {
        "episode_index": index,
        "tasks": [task],
        "length": n,
        "data/chunk_index": place[0],
        "data/file_index": place[1],
        "dataset_from_index": totals.frames,
        "dataset_to_index": totals.frames + n,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    for key, feature in features.items():
        values, pictures = columns[key], None
        if feature["dtype"] == "image":
            looked_at = values[:: max(1, n // STATS_FRAMES)]
            pixels = [_decoded(jpeg, key)[::STATS_STRIDE, ::STATS_STRIDE].reshape(-1, 3) for jpeg in looked_at]
            values, pictures = np.concatenate(pixels), len(looked_at)
            totals.pictures[key] = totals.pictures.get(key, 0) + pictures
        totals.samples.setdefault(key, []).append(values)
        row |= {f"stats/{key}/{name}": value for name, value in _stats(values, feature, pictures).items()}
    totals.rows.append(row)
    totals.frames += n


def _stats(values: Array, feature: Mapping[str, Any], pictures: int | None) -> dict[str, Any]:
    """Of each entry; for pictures ([pixels, 3] uint8) of each channel, within [0, 1] and shaped [3, 1, 1]."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    if feature["dtype"] == "image":
        rows /= 255.0
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found |= {name: np.quantile(rows, q, axis=0) for name, q in QUANTILES.items()}
    shape = (-1, 1, 1) if feature["dtype"] == "image" else (-1,)
    counted = len(values) if pictures is None else pictures
    return {**{name: value.reshape(shape).tolist() for name, value in found.items()}, "count": [counted]}


def _decoded(jpeg: bytes, where: str) -> Array:
    """uint8 [H, W, 3]."""
    try:
        with PIL.Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise IntegrityError(f"{where}: a frame is no JPEG picture: {error}; not exported") from error


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
