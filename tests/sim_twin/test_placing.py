"""Where the bin goes, and that the calibration says where it is in the pictures that MuJoCo draws."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from robot_rl.task_files import load_task
from robot_rl.twins import PlacedCell, Split, load_placing, place_of
from sim_twin.cameras import SceneRenderer
from sim_twin.config import CameraConfig
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.placing import TwinPlacing, project

TASK = load_task("lid_opening")
LID = np.array([0.93, 0.74, 0.30])


@pytest.fixture(scope="module")
def twin() -> LidOpeningTwin:
    return LidOpeningTwin(TASK)


def test_the_places_are_ten_different_ones_within_the_tasks_starts() -> None:
    places = load_placing(TASK).places()
    assert len({(place.x, place.y) for place in places}) == 10
    starts = TASK.scene["starts"]
    assert all(starts["x"][0] < place.x < starts["x"][1] for place in places)
    assert all(starts["y"][0] < place.y < starts["y"][1] for place in places)
    assert [place.x for place in places] == sorted(place.x for place in places), "the near row first"
    assert np.mean([place.y for place in places]) == pytest.approx(0)


def test_other_grids_have_two_rows_too() -> None:
    places = load_placing(TASK, 4).places()
    assert len({(place.x, place.y) for place in places}) == 8
    assert [place.y for place in places[:4]] == pytest.approx([0.09, 0.03, -0.03, -0.09])
    assert [place.x for place in places] == pytest.approx([0.63] * 4 + [0.69] * 4)


@pytest.mark.parametrize("camera", ["front", "side"])
def test_a_point_is_where_mujocos_own_camera_has_it(twin: LidOpeningTwin, camera: str) -> None:
    points = np.random.default_rng(0).uniform([0.4, -0.2, 0.3], [0.8, 0.2, 0.6], (50, 3))
    mujoco.mj_forward(twin.model, twin.data)
    rotation = twin.data.camera(camera).xmat.reshape(3, 3)
    seen = (points - twin.data.camera(camera).xpos) @ rotation
    high = 2 * np.tan(np.radians(twin.model.camera(camera).fovy[0]) / 2) * -seen[:, 2]
    config = twin.scene.cameras[camera]
    expected = np.stack([0.5 + seen[:, 0] / high * config.height / config.width, 0.5 - seen[:, 1] / high], 1)
    np.testing.assert_allclose(project(config, points), expected, atol=1e-6)


def test_the_lid_is_drawn_where_the_calibration_says(twin: LidOpeningTwin) -> None:
    renderer = SceneRenderer(twin.model, twin.scene)
    cell = PlacedCell(twin, 0, Split.EVALUATE, placing=TwinPlacing(TASK), repeats=2)
    camera = twin.scene.cameras["front"]
    for episode in (1, 10, 20):
        cell.reset(episode)
        place = TwinPlacing(TASK).places()[place_of(episode, 2, 10)]
        height = twin.scene.table_height + twin.scene.bin.height + twin.scene.bin.lid_thickness
        ((u, v),) = project(camera, np.array([[place.x, place.y, height]]))
        pixel = renderer.render("front", twin.joint_positions)[int(v * camera.height), int(u * camera.width)] / 255
        direction = pixel / np.linalg.norm(pixel)
        assert direction @ LID / np.linalg.norm(LID) > 0.98, f"the lid's yellow at place of episode {episode}: {pixel}"
    renderer.close()


def test_what_is_behind_a_camera_or_beside_its_picture_has_no_mark() -> None:
    camera = CameraConfig(position=(0, 0, 1), target=(1, 0, 1), fovy=40, width=320, height=240)
    ahead, behind, aside = project(camera, np.array([[1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [1.0, 5.0, 1.0]]))
    assert ahead.tolist() == [0.5, 0.5]
    assert np.isnan(behind).all()
    assert aside[0] < 0, "y is to the left"
    marks = TwinPlacing(TASK).marks(TwinPlacing(TASK).places())
    assert set(marks) == {"front", "side"}, "the wrist's camera moves"
    assert all(mark is not None for mark in marks["front"])


def test_two_episodes_at_each_place_in_order_and_what_is_random_stays_so(twin: LidOpeningTwin) -> None:
    placing = TwinPlacing(TASK)
    cell = PlacedCell(twin, 5, Split.EVALUATE, placing=placing, repeats=2)
    starts = [cell.start(episode) for episode in range(1, 21)]
    assert [(start.x, start.y) for start in starts] == [(p.x, p.y) for p in placing.places() for _ in range(2)]
    assert [start.seed for start in starts] == [twin.draw(Split.EVALUATE, 5, episode).seed for episode in range(1, 21)]
    cell.reset(3)
    assert (twin.start.x, twin.start.y) == (starts[2].x, starts[2].y)
    assert place_of(21, 2, 10) == 0
