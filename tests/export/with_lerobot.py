"""`python tests/export/with_lerobot.py DATASET`: an export read by the real `lerobot`, in an environment of its own.

Not a test of CI: `lerobot` pins an older torch. CONTRIBUTING.md has the command.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this disk is not looked for elsewhere

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]


def check(root: Path) -> None:
    """Raises when what `lerobot` reads is not what info.json says."""
    info = json.loads((root / "meta/info.json").read_text())
    dataset = LeRobotDataset("local/export", root=root)
    assert (dataset.num_episodes, dataset.num_frames) == (info["total_episodes"], info["total_frames"])
    first, last = dataset[0], dataset[len(dataset) - 1]
    for name, feature in info["features"].items():
        height_first = feature["dtype"] != "image"
        shape = feature["shape"] if height_first else [feature["shape"][2], *feature["shape"][:2]]
        assert list(last[name].shape) == ([] if shape == [1] else shape), name
    assert last["next.done"]
    assert not first["next.done"]
    assert set(dataset.meta.stats) == set(info["features"])
    ahead = LeRobotDataset("local/export", root=root, delta_timestamps={"action": [0, 1 / dataset.fps]}, episodes=[0])
    assert list(ahead[0]["action"].shape) == [2, *info["features"]["action"]["shape"]]
    print(f"{root}: {dataset.num_episodes} episodes, {dataset.num_frames} frames, task {first['task']!r}: as it says")


if __name__ == "__main__":
    check(Path(sys.argv[1]))
