"""`robot-rl export lerobot`: a run's labelled episodes as a LeRobotDataset v3.0."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from robot_rl.compositions.plain_text import plain
from robot_rl.compositions.plan import look_at_run
from robot_rl.compositions.terminal import progress_bar
from robot_rl.errors import ConfigError, StoreError
from robot_rl.export.frames import Frames, frames_of
from robot_rl.store.episode import read_images, read_manifest, read_messages
from robot_rl.store.ros import CAMERA
from robot_rl.store.taken import taken_from
from robot_rl.store.training import labels_of, training_set
from robot_rl.types import ActionSpace, Array, LabelValue

STALE_S = 0.5
"""A picture that is older than this when a frame shows it is counted."""


def export_and_show(path: Path, out: Path, fps: int | None, images: bool | None, console: Console) -> None:
    """Table and one last line of JSON. Cameras become video, with `images` keep their JPEG files, with False go.

    Raises `ConfigError` when what it needs is not installed.
    """
    try:
        from robot_rl.export.lerobot import Episode, write_dataset
    except ImportError as error:
        raise ConfigError(f"{error}: an export needs pyarrow and Pillow: pip install 'robot-rl[export]'") from error
    run, _, task, policy = look_at_run(path)
    space, control_hz = policy.spec.action_space, 1 / policy.spec.step_s
    rate = fps or round(control_hz)
    labels = labels_of(run)
    chosen = training_set(run, labels)
    if not chosen.labelled:
        raise StoreError(f"{run.path}: no episode is labelled success or failure: label some, then export")
    left_out = Counter(chosen.left_out.values())
    left_out["not labelled"] += len({*run.closed_episodes()} - {*labels})
    cameras, said = ((), []) if images is False else _cameras([run.episode(number) for number, _ in chosen.labelled])
    if cameras and images is None:
        _require_video()
    successes = 0
    ages: dict[str, list[Array]] = {camera: [] for camera in cameras}

    def episodes() -> Iterator[Episode]:
        nonlocal successes
        exported = False
        for number, value in chosen.labelled:
            bar.update(row, note=f"number {number}")
            try:
                frames = _frames(run.episode(number), cameras, space, rate, control_hz)
            except StoreError as error:
                left_out[str(error)] += 1
            else:
                exported = True
                successes += value is LabelValue.SUCCESS
                for camera, seconds in frames.ages.items():
                    ages[camera].append(seconds)
                yield Episode(frames, value is LabelValue.SUCCESS)
            bar.advance(row)
        if not exported:
            raise StoreError(f"{run.path}: none of its episodes can be exported: {'; '.join(+left_out)}")

    with progress_bar(console) as bar:
        row = bar.add_task("episodes", total=len(chosen.labelled), note="")
        info = write_dataset(
            out, episodes(), fps=rate, task=task.title, action_names=space.names, images=images is True
        )
    table = Table("feature", "type", "shape", title=f"{out}: {info['total_frames']} frames at {rate} Hz")
    for name, feature in info["features"].items():
        table.add_row(name, feature["dtype"], " x ".join(map(str, feature["shape"])))
    console.print(table)
    pictures = {camera: _ages(np.concatenate(seconds)) for camera, seconds in ages.items()}
    said += [f"camera {camera}: {_words(age)}" for camera, age in pictures.items()]
    said += [f"left out: {count}, {why}" for why, count in (+left_out).items()]
    for words in said:
        console.print(plain(words), soft_wrap=True)
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
        "cameras_as": "none" if images is False else "images" if images else "video",
        "picture_ages": pictures,
    }
    console.file.write(json.dumps(results) + "\n")


def _ages(seconds: Array) -> dict[str, float]:
    """What there is to say of how old the pictures of [N] frames are."""
    return {
        "median_s": round(float(np.median(seconds)), 3),
        "largest_s": round(float(seconds.max()), 3),
        "stale": int((seconds > STALE_S).sum()),
        "early": int((seconds < 0).sum()),
    }


def _words(age: Mapping[str, float]) -> str:
    words = f"its pictures are {age['median_s']:.2f} s old in the median, {age['largest_s']:.2f} s at most"
    words += f"; in {age['stale']} frames older than {STALE_S:g} s" if age["stale"] else ""
    return words + (f"; {age['early']} frames from before the first have the first" if age["early"] else "")


def _require_video() -> None:
    """Raises `ConfigError` before the work if it cannot be done."""
    try:
        import robot_rl.export.video  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"{error}: cameras as video need PyAV: pip install 'robot-rl[export]', or export them with --images"
        ) from error


def _cameras(folders: Sequence[Path]) -> tuple[tuple[str, ...], list[str]]:
    """Those that at least half of the episodes have, and a sentence on each of the others.

    A dataset has the same features in all of its episodes: what lacks one of its cameras cannot be in it, and what has
    one more can be, without it.
    """
    having: Counter[str] = Counter()
    for folder in folders:
        with contextlib.suppress(StoreError):  # said when its turn comes
            having.update(_recorded_cameras(folder))
    chosen = {camera for camera, count in having.items() if 2 * count >= len(folders)}
    said = [
        f"camera {camera}: not exported, {count} of {len(folders)} episodes have frames of it"
        for camera, count in sorted(having.items())
        if camera not in chosen
    ]
    return tuple(sorted(chosen)), said


def _recorded_cameras(folder: Path) -> list[str]:
    counts = read_manifest(folder).counts
    return [topic.removeprefix(CAMERA) for topic, count in counts.items() if topic.startswith(CAMERA) and count]


def _frames(folder: Path, cameras: Sequence[str], space: ActionSpace, fps: int, control_hz: float) -> Frames:
    """Of one episode. Raises `StoreError` for one that cannot be exported."""
    lacks = sorted({*cameras} - {*_recorded_cameras(folder)})
    if lacks:
        raise StoreError(
            f"{folder}: expected frames of each camera as in at least half of the episodes, got none of "
            f"{', '.join(lacks)}; --no-images exports it without any"
        )
    steps = read_messages(folder, "/steps")
    if len(steps) < 2:
        origin = taken_from(folder)
        words = f"; {origin}: export that run" if origin else ""
        raise StoreError(f"{folder}: expected two recorded control steps at least, got {len(steps)}{words}")
    shots = {camera: read_images(folder, camera) for camera in cameras}
    return frames_of(steps, shots, space, fps=fps, control_hz=control_hz, where=str(folder))
