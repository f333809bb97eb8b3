"""`robot-rl export lerobot`: a run's labelled episodes as a LeRobotDataset v3.0."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from robot_rl.compositions.plan import look_at_run
from robot_rl.compositions.terminal import progress_bar
from robot_rl.errors import ConfigError, StoreError
from robot_rl.export.frames import Frames, frames_of
from robot_rl.store.episode import read_images, read_manifest, read_messages
from robot_rl.store.training import labels_of, training_set
from robot_rl.types import ActionSpace, LabelValue

CAMERA = "/camera/"
"""What the topics of cameras begin with."""


def export_and_show(path: Path, out: Path, fps: int | None, images: bool, console: Console) -> None:
    """Table and one last line of JSON. Cameras become video, or with `images` keep their JPEG files.

    Raises `ConfigError` when what it needs is not installed.
    """
    try:
        from robot_rl.export.lerobot import Episode, write_dataset
    except ImportError as error:
        raise ConfigError(f"{error}: an export needs pyarrow and Pillow: pip install 'robot-rl[export]'") from error
    run, _, task, policy = look_at_run(path)
    space, control_hz = policy.spec.action_space, 1 / policy.spec.step_s
    rate = fps or round(control_hz)
    chosen = training_set(run, labels_of(run))
    if not chosen.labelled:
        raise StoreError(f"{run.path}: no episode is labelled success or failure: label some, then export")
    left_out = Counter(chosen.left_out.values())
    cameras = _cameras([run.episode(number) for number, _ in chosen.labelled])
    if cameras and not images:
        _require_video()
    successes = 0

    def episodes() -> Iterator[Episode]:
        nonlocal successes
        for number, value in chosen.labelled:
            bar.update(row, note=f"number {number}")
            try:
                frames = _frames(run.episode(number), cameras, space, rate, control_hz)
            except StoreError as error:
                left_out[str(error)] += 1
            else:
                successes += value is LabelValue.SUCCESS
                yield Episode(frames, value is LabelValue.SUCCESS)
            bar.advance(row)

    with progress_bar(console) as bar:
        row = bar.add_task("episodes", total=len(chosen.labelled), note="")
        info = write_dataset(out, episodes(), fps=rate, task=task.title, action_names=space.names, images=images)
    table = Table("feature", "type", "shape", title=f"{out}: {info['total_frames']} frames at {rate} Hz")
    for name, feature in info["features"].items():
        table.add_row(name, feature["dtype"], " x ".join(map(str, feature["shape"])))
    console.print(table)
    for why, count in left_out.items():
        console.print(f"left out: {count}, {why}", soft_wrap=True)
    results: dict[str, Any] = {
        "run": str(run.path),
        "out": str(out),
        "format": f"LeRobotDataset {info['codebase_version']}",
        "fps": rate,
        "episodes": info["total_episodes"],
        "successes": successes,
        "left_out": left_out.total(),
        "frames": info["total_frames"],
        "cameras": [name for name, feature in info["features"].items() if name.startswith("observation.images.")],
        "cameras_as": "images" if images else "video",
    }
    console.file.write(json.dumps(results) + "\n")


def _require_video() -> None:
    """Raises `ConfigError` before the work if it cannot be done."""
    try:
        import robot_rl.export.video  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"{error}: cameras as video need PyAV: pip install 'robot-rl[export]', or export them with --images"
        ) from error


def _cameras(folders: Sequence[Path]) -> tuple[str, ...]:
    """Those that most of the episodes with cameras have: an episode that was recorded before they ran lacks them."""
    sets: Counter[tuple[str, ...]] = Counter()
    for folder in folders:
        with contextlib.suppress(StoreError):  # said when its turn comes
            sets[tuple(sorted(_recorded_cameras(folder)))] += 1
    return max(sets, key=lambda names: (bool(names), sets[names], len(names)), default=())


def _recorded_cameras(folder: Path) -> list[str]:
    counts = read_manifest(folder).counts
    return [topic.removeprefix(CAMERA) for topic, count in counts.items() if topic.startswith(CAMERA) and count]


def _frames(folder: Path, cameras: Sequence[str], space: ActionSpace, fps: int, control_hz: float) -> Frames:
    """Of one episode. Raises `StoreError` for one that cannot be exported."""
    lacks = sorted({*cameras} - {*_recorded_cameras(folder)})
    if lacks:
        raise StoreError(
            f"{folder}: expected frames of each camera as in most episodes, got none of {', '.join(lacks)}"
        )
    steps = read_messages(folder, "/steps")
    if len(steps) < 2:
        raise StoreError(f"{folder}: expected two recorded control steps at least, got {len(steps)}")
    shots = {camera: read_images(folder, camera) for camera in cameras}
    return frames_of(steps, shots, space, fps=fps, control_hz=control_hz, where=str(folder))
