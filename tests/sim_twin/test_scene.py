"""The compiled scene: what stands where, what may touch what, what is randomised."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.config import TaskConfig
from robot_rl.errors import ConfigError
from sim_twin.config import SceneConfig, parse_scene
from sim_twin.lid_opening import LidOpeningTwin
from sim_twin.scene import build_scene, fr3_assets


@pytest.fixture(scope="module")
def scene(task: TaskConfig) -> SceneConfig:
    return parse_scene(task.scene)


def test_the_bin_has_its_worlds_mass(twin: LidOpeningTwin) -> None:
    assert float(twin.model.body("lid").mass[0]) == pytest.approx(twin.world.lid_mass)
    assert float(twin.model.body("bin").mass[0]) == pytest.approx(twin.world.body_mass)


def test_the_bin_stands_still_on_the_table(twin: LidOpeningTwin) -> None:
    for _ in range(40):
        twin.hold()
    pose = twin.joint_positions[twin.model.joint("bin_free").qposadr[0] :][:3]
    assert np.allclose(pose, [twin.start.x, twin.start.y, twin.scene.table_height], atol=0.001)


@pytest.mark.parametrize("side", ["none", "left", "right"])
def test_only_the_broken_ear_has_no_contact(scene: SceneConfig, side: str) -> None:
    shape = scene.bin.model_copy(update={"broken_ear": side})
    model = build_scene(scene.model_copy(update={"bin": shape}), scene.worlds["twin"])
    for ear in ("left", "right"):
        assert bool(model.geom(f"ear_{ear}").contype[0]) is (ear != side)
        assert model.geom(f"ear_{ear}").pos[1] * (1 if ear == "left" else -1) == pytest.approx(scene.bin.ear_y)


def test_what_cannot_be_built_is_an_error_of_the_task_file(scene: SceneConfig) -> None:
    with pytest.raises(ConfigError, match="MuJoCo cannot build it"):
        build_scene(scene.model_copy(update={"table_height": -5.0}), scene.world("twin"))


def test_a_settings_change_is_a_change_of_physics(scene: SceneConfig) -> None:
    world = scene.worlds["twin"]
    heavier = build_scene(scene, world.model_copy(update={"body_mass": 1.0, "friction": 0.9, "gain": 2.0}))
    plain = build_scene(scene, world)
    assert heavier.body("bin").mass[0] == pytest.approx(1.0)
    assert heavier.geom("ear_left").friction[0] == pytest.approx(0.9)
    motor = plain.actuator("fr3_joint1").id
    assert heavier.actuator_gainprm[motor, 0] == pytest.approx(2 * plain.actuator_gainprm[motor, 0])
    assert heavier.actuator_biasprm[motor, 1] == pytest.approx(2 * plain.actuator_biasprm[motor, 1])


def test_camera_poses_are_randomised_by_their_jitter_and_no_more(scene: SceneConfig) -> None:
    front = scene.cameras["front"].model_copy(update={"jitter": 0.05})
    shaken = scene.model_copy(update={"cameras": {**scene.cameras, "front": front}})
    plain = build_scene(shaken, scene.worlds["twin"])
    models = [build_scene(shaken, scene.worlds["twin"], np.random.default_rng(seed)) for seed in (0, 0, 1)]
    moved = [model.cam("front").pos - plain.cam("front").pos for model in models]
    assert np.array_equal(moved[0], moved[1])
    assert not np.array_equal(moved[0], moved[2])
    assert 0 < np.abs(moved).max() <= 0.05
    for name in ("side", "wrist"):
        assert np.array_equal(models[0].cam(name).pos, plain.cam(name).pos)


def test_a_missing_robot_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'robot-rl\[twin\]'"):
        fr3_assets()
