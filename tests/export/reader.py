"""A reader of what LeRobotDataset v3.0 publishes of its layout, with pyarrow and PyAV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
from pyarrow import parquet

from robot_rl.types import Array

TOLERANCE_S = 1e-4
"""The library's own: a frame farther than this from the time that is asked for is an error."""


class Reader:
    """A LeRobotDataset v3.0 by its published layout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info = json.loads((root / "meta/info.json").read_text())
        self.stats = json.loads((root / "meta/stats.json").read_text())
        self.tasks = parquet.read_table(root / "meta/tasks.parquet")
        files = sorted((root / "meta/episodes").glob("chunk-*/file-*.parquet"))
        self.episodes = [row for file in files for row in parquet.read_table(file).to_pylist()]

    def episode(self, index: int) -> dict[str, Any]:
        """Column -> values of an episode's rows, found by its row in meta/episodes."""
        row = self.episodes[index]
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        table = parquet.read_table(self.root / self.info["data_path"].format(**place))
        rows = table.filter(parquet.filters_to_expression([("episode_index", "=", index)]))
        columns: dict[str, Any] = rows.to_pydict()
        return columns

    def video(self, index: int, key: str) -> Array:
        """uint8 [N, H, W, 3]: the frame at each of an episode's timestamps, as the library asks for it."""
        row = self.episodes[index]
        place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        begin, end = (row[f"videos/{key}/{name}"] for name in ("from_timestamp", "to_timestamp"))
        at, frames = read_video(self.root / self.info["video_path"].format(video_key=key, **place))
        asked = begin + np.array(self.episode(index)["timestamp"])
        nearest = np.abs(asked[:, None] - at).argmin(1)
        assert np.abs(asked - at[nearest]).max() < TOLERANCE_S
        assert len({*nearest}) == len(asked) == np.count_nonzero((at > begin - TOLERANCE_S) & (at < end - TOLERANCE_S))
        return frames[nearest]


def read_video(path: Path) -> tuple[Array, Array]:
    """(times [N] s, frames uint8 [N, H, W, 3]) of a file."""
    with av.open(str(path)) as container:
        found = [(float(frame.time or 0), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return np.array([time for time, _ in found]), np.stack([frame for _, frame in found])
