"""Where the bin is put for an evaluation: a grid over the task's starts, and where its places are in the pictures.

The cameras' calibration is the scene's own: a pinhole at `position` that looks at `target` with the world's z upwards.
Those on the hand show no fixed place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from robot_rl.config import TaskConfig
from robot_rl.twins import Pixel, Place
from robot_rl.types import Array
from sim_twin.config import CameraConfig, parse_scene
from sim_twin.starts import Start

ROWS, COLUMNS = 2, 5
"""Along x and along y of the base frame: the ten positions of the USR paper's protocol (section 5.5)."""


class TwinPlacing:
    """`robot_rl.twins.Placing` of a task with a `scene` of this package."""

    def __init__(self, task: TaskConfig, columns: int = COLUMNS) -> None:
        self._scene, self._columns = parse_scene(task.scene), columns

    def places(self) -> Sequence[Place]:
        """The middles of `ROWS` x `columns` equal parts of the starts, the row nearest to the robot first, +y first."""
        starts = self._scene.starts
        yaw = sum(starts.yaw) / 2
        return [Place(x, y, yaw) for x in _middles(starts.x, ROWS) for y in reversed(_middles(starts.y, self._columns))]

    def put(self, start: Start, place: Place) -> Start:
        """`start` with the bin at `place`; what else is drawn at random stays as it is."""
        return replace(start, x=place.x, y=place.y, yaw=place.yaw)

    def marks(self, places: Sequence[Place]) -> Mapping[str, Sequence[Pixel | None]]:
        """Camera -> where the table's spot of each place is in its picture; None: not in it."""
        points = np.array([[place.x, place.y, self._scene.table_height] for place in places]).reshape(-1, 3)
        fixed = {name: camera for name, camera in self._scene.cameras.items() if camera.mount == "world"}
        return {name: [_inside(pixel) for pixel in project(camera, points)] for name, camera in fixed.items()}


def project(camera: CameraConfig, points: Array) -> Array:
    """Points [n, 3], m in the base frame -> [n, 2]: 0 to 1 from the picture's left and from its top; NaN: behind it."""
    position = np.array(camera.position)
    backward = position - np.array(camera.target)
    backward /= np.linalg.norm(backward)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    seen = (points - position) @ np.stack(
        [right, np.cross(backward, right), backward], axis=1
    )  # [n, 3] right, up, back
    depth = np.where(seen[:, 2] < 0, -seen[:, 2], np.nan)
    high = 2 * math.tan(math.radians(camera.fovy) / 2) * depth  # m that the picture shows from top to bottom there
    pixels: Array = np.stack(
        [0.5 + seen[:, 0] / (high * camera.width / camera.height), 0.5 - seen[:, 1] / high], axis=1
    )
    return pixels


def _middles(ends: tuple[float, float], parts: int) -> list[float]:
    return [ends[0] + (ends[1] - ends[0]) * (i + 0.5) / parts for i in range(parts)]


def _inside(pixel: Array) -> Pixel | None:
    u, v = (float(value) for value in pixel)
    return (u, v) if 0 <= u <= 1 and 0 <= v <= 1 else None
