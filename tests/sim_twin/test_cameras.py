"""Rendered pictures: of the right size, not black, and the robot and the bin are in them."""

from __future__ import annotations

from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from robot_rl.clock import Clock
from robot_rl.errors import ConfigError
from robot_rl.protocols import Camera
from robot_rl.testing.camera import CameraConformance
from sim_twin.cameras import SceneRenderer, TwinCamera
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.scene import COLLISION_GROUP, PROP_GROUP, VISUAL_GROUP

CAMERAS = ("front", "side", "wrist")


@pytest.fixture(scope="module")
def renderer(shared_twin: LidOpeningTwin) -> Iterator[SceneRenderer]:
    made = SceneRenderer(shared_twin.model, shared_twin.scene)
    yield made
    made.close()


class TestTwinCamera(CameraConformance):
    @pytest.fixture
    def camera(self, twin: LidOpeningTwin, renderer: SceneRenderer) -> Camera:
        self.twin = twin
        return TwinCamera(twin, "front", renderer)

    @pytest.fixture
    def clock(self, twin: LidOpeningTwin) -> Clock:
        return twin.clock

    def advance(self, camera: Camera) -> None:
        self.twin.hold()


def seen_bodies(twin: LidOpeningTwin, camera: str, *, fine: bool = False) -> dict[str, float]:
    """Share of a camera's pixels that each body takes, by MuJoCo's segmentation of the same picture."""
    config = twin.scene.cameras[camera]
    option = mujoco.MjvOption()
    option.geomgroup[:] = 0
    option.geomgroup[[PROP_GROUP, VISUAL_GROUP if fine else COLLISION_GROUP]] = 1
    with mujoco.Renderer(twin.model, config.height, config.width) as drawing:
        drawing.enable_segmentation_rendering()
        drawing.update_scene(twin.data, camera, option)
        segments = drawing.render()
    geoms = segments[..., 0][segments[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM)]
    shares: dict[str, float] = {}
    for geom, count in zip(*np.unique(geoms, return_counts=True), strict=True):
        body = twin.model.body(twin.model.geom(int(geom)).bodyid[0]).name
        shares[body] = shares.get(body, 0.0) + count / segments[..., 0].size
    return shares


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_picture_is_not_black_and_has_contrast(twin: LidOpeningTwin, renderer: SceneRenderer, camera: str) -> None:
    picture = renderer.render(camera, twin.joint_positions)
    config = twin.scene.cameras[camera]
    assert picture.shape == (config.height, config.width, 3)
    assert 40 < picture.mean() < 230
    assert picture.std() > 15
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 200


@pytest.mark.parametrize("camera", ["front", "side"])
def test_the_robot_and_the_bin_are_in_the_picture(twin: LidOpeningTwin, camera: str) -> None:
    shares = seen_bodies(twin, camera)
    robot = sum(share for body, share in shares.items() if body.startswith("fr3_link") or body == "hand")
    assert robot > 0.05
    assert shares.get("bin", 0.0) + shares.get("lid", 0.0) > 0.005


def test_the_wrist_camera_sees_the_fingers_and_what_is_before_them(twin: LidOpeningTwin) -> None:
    shares = seen_bodies(twin, "wrist")
    assert shares.get("left_finger", 0.0) > 0.005
    assert shares.get("right_finger", 0.0) > 0.005
    assert shares.get("bin", 0.0) + shares.get("lid", 0.0) > 0.005


def test_the_robots_white_and_the_bins_colours_are_seen(twin: LidOpeningTwin, renderer: SceneRenderer) -> None:
    picture = renderer.render("front", twin.joint_positions).astype(int)
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    assert ((red > 150) & (abs(red - blue) < 20)).mean() > 0.03, "light arm"
    assert ((blue > red + 25) & (green > red + 20)).mean() > 0.002, "teal bin"
    assert ((red > blue + 60) & (green > blue + 25)).mean() > 0.002, "yellow lid"


def test_pictures_follow_the_joint_positions(twin: LidOpeningTwin, renderer: SceneRenderer) -> None:
    first, here = renderer.render("front", twin.joint_positions), twin.joint_positions
    for _ in range(10):
        twin.apply(np.array([0.0, 0.012, 0.012, 0.0]))
    assert np.abs(renderer.render("front", twin.joint_positions).astype(int) - first).max() > 50
    assert np.array_equal(renderer.render("front", here), first)


def test_the_fine_meshes_are_another_picture_of_the_same_scene(twin: LidOpeningTwin, renderer: SceneRenderer) -> None:
    fine = SceneRenderer(twin.model, twin.scene, fine=True, size=(320, 240))
    try:
        picture = fine.render("front", twin.joint_positions)
    finally:
        fine.close()
    coarse = renderer.render("front", twin.joint_positions)
    assert picture.shape == coarse.shape
    difference = np.abs(picture.astype(int) - coarse).max(-1)
    assert 0.01 < (difference > 10).mean() < 0.4
    assert seen_bodies(twin, "front", fine=True).keys() >= {"hand", "bin", "lid"}


def test_a_mistyped_camera_names_the_nearest(twin: LidOpeningTwin, renderer: SceneRenderer) -> None:
    with pytest.raises(ConfigError, match=r"no camera 'frnt'.*'front'"):
        renderer.render("frnt", twin.joint_positions)
