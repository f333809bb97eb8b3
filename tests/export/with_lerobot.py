"""`python tests/export/with_lerobot.py DATASET [IMAGES]`: exports, read by the real `lerobot` in its own environment.

IMAGES is the same run's export with `--images`, which DATASET's videos are compared with, frame by frame. Not a test of
CI: `lerobot` pins an older torch. CONTRIBUTING.md has the command.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this disk is not looked for elsewhere

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]

PICTURES = ("image", "video")
LOSS = 0.05
"""Mean difference of a frame's levels, within [0, 1], that encoding may make."""


def check(root: Path) -> LeRobotDataset:
    """Raises when what `lerobot` reads is not what info.json says."""
    info = json.loads((root / "meta/info.json").read_text())
    dataset = loaded(root)
    assert (dataset.num_episodes, dataset.num_frames) == (info["total_episodes"], info["total_frames"])
    first, last = dataset[0], dataset[len(dataset) - 1]
    for name, feature in info["features"].items():
        shape = feature["shape"]
        if feature["dtype"] in PICTURES:
            shape = [shape[2], *shape[:2]]
            assert {*dataset.meta.stats[name]} >= {"min", "max", "mean", "std", "count"}
            assert dataset.meta.stats[name]["mean"].shape == (3, 1, 1)
        assert list(last[name].shape) == ([] if shape == [1] else shape), name
    assert last["next.done"]
    assert not first["next.done"]
    assert set(dataset.meta.stats) == set(info["features"])
    ahead = {name: [0, 1 / dataset.fps] for name in ("action", *dataset.meta.camera_keys)}
    two = loaded(root, delta_timestamps=ahead, episodes=[dataset.num_episodes - 1])[0]
    assert all(len(two[name]) == 2 for name in ahead)
    print(f"{root}: {dataset.num_episodes} episodes, {dataset.num_frames} frames, task {first['task']!r}: as it says")
    return dataset


def loaded(root: Path, **how: object) -> LeRobotDataset:
    """With the decoder that works here: torchcodec wants the system's FFmpeg, PyAV brings its own."""
    try:
        from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found]  # noqa: F401

        backend = "torchcodec"
    except (ImportError, RuntimeError):
        backend = "pyav"
    return LeRobotDataset("local/export", root=root, video_backend=backend, **how)


def compare(videos: LeRobotDataset, images: LeRobotDataset) -> None:
    """Raises when a frame of a video is not the recorded one."""
    assert len(videos) == len(images)
    worst = 0.0
    for index in range(len(images)):
        seen, recorded = videos[index], images[index]
        assert seen["timestamp"] == recorded["timestamp"]
        for key in videos.meta.video_keys:
            worst = max(worst, float((seen[key] - recorded[key]).abs().mean()))
    assert worst < LOSS, worst
    print(f"{len(images)} frames of {len(videos.meta.video_keys)} videos: at most {worst:.4f} from the recorded ones")


if __name__ == "__main__":
    found = [check(Path(path)) for path in sys.argv[1:3]]
    if len(found) == 2:
        compare(*found)
