"""A recorded episode as pages show it: cameras, chunks, executed commands and verdicts on one time axis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Response

from robot_rl.clock import SECOND
from robot_rl.errors import IntegrityError, StoreError
from robot_rl.store.episode import Image, read_images, read_manifest, read_messages
from robot_rl.store.mcap_file import Message

CAMERA = "/camera/"
"""What the topics of cameras begin with."""


@dataclass(frozen=True)
class Recording:
    """What the page shows."""

    view: dict[str, Any]
    """JSON-able; times in s since the episode's first message."""
    pictures: dict[str, list[Image]]
    """Camera -> its frames."""


def load_recording(folder: Path, label: str | None) -> Recording:
    """A closed episode. Raises `StoreError` for one without commands, `IntegrityError` for a damaged one."""
    manifest = read_manifest(folder)
    steps = read_messages(folder, "/steps")
    if not steps:
        raise StoreError(f"{folder}: no recorded commands: there is nothing to show")
    cameras = [topic.removeprefix(CAMERA) for topic in manifest.counts if topic.startswith(CAMERA)]
    pictures = {camera: read_images(folder, camera) for camera in sorted(cameras)}
    first_ns = manifest.first_stamp_ns

    def seconds(stamp_ns: int) -> float:
        return (stamp_ns - first_ns) / SECOND

    try:
        shown = [_step(step, seconds(step.stamp_ns)) for step in steps]
        safety = [
            {
                "t": seconds(m.stamp_ns),
                "level": str(m.body["level"]),
                "causes": [str(c["kind"]) for c in m.body["causes"]],
            }
            for m in read_messages(folder, "/safety")
        ]
        rejected = [
            {"t": seconds(m.stamp_ns), "reason": str(m.body["reason"])} for m in read_messages(folder, "/rejected")
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder}: a message is not what its topic holds: {error!r:.200}; not shown") from error
    view = {
        "task": manifest.header.task,
        "method": manifest.header.method,
        "episode": manifest.header.episode,
        "adapter_version": manifest.header.adapter_version,
        "ended_by": manifest.outcome.ended_by,
        "label": label,
        "seconds": seconds(manifest.last_stamp_ns),
        "steps": shown,
        "safety": safety,
        "rejected": rejected,
        "cameras": {camera: [seconds(shot.stamp_ns) for shot in shots] for camera, shots in pictures.items()},
    }
    return Recording(view, pictures)


def picture(recording: Recording, camera: str, number: int) -> Response:
    """One frame. Raises `HTTPException` 404, which names those that there are."""
    shots = recording.pictures.get(camera, [])
    if not 0 <= number < len(shots):
        raise HTTPException(404, f"expected a frame from 0 to {len(shots) - 1} of {sorted(recording.pictures)}")
    return Response(shots[number].jpeg, media_type="image/jpeg")


def _step(step: Message, seconds: float) -> dict[str, Any]:
    body = step.body
    return {
        "t": seconds,
        "chunk": int(body["chunk"]),
        "row": int(body["row"]),
        "verdict": str(body["verdict"]),
        "reason": str(body["reason"]),
        "target": [float(entry) for entry in body["target"]],
        "sent": [float(entry) for entry in body["sent"]],
        "tcp": [float(entry) for entry in body["tcp_pose"][:3]],
        "gripper": float(body["gripper_width"]),
    }
