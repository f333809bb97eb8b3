"""The lid-opening twin as a robot, its clock and its errors, and the truth about the lid."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from robot_rl.clock import SECOND, Clock
from robot_rl.config import TaskConfig
from robot_rl.testing.robot import RobotConformance
from robot_rl.twins import Split
from robot_rl.types import Array
from sim_twin.lid_opening import CONTROL_HZ, STEP_M, LidOpeningTwin
from sim_twin.scene import ARM_JOINTS
from tests.sim_twin.episodes import geoms_touching, open_lid, touching

STILL = np.array([0.0, 0.0, 0.0, 0.0])
UP = np.array([0.0, 0.0, 0.01, 0.0])


class TwinConformance(RobotConformance):
    """On the one robot that is reset for each test."""

    @pytest.fixture
    def clock(self, robot: LidOpeningTwin) -> Clock:
        return robot.clock


class TestTwin(TwinConformance):
    @pytest.fixture
    def robot(self, twin: LidOpeningTwin) -> LidOpeningTwin:
        return twin


@pytest.fixture(scope="module")
def real_world(task: TaskConfig) -> LidOpeningTwin:
    return LidOpeningTwin(task, "real")


class TestRealWorld(TwinConformance):
    """The perturbed copy: weaker gains, and a delay."""

    @pytest.fixture
    def robot(self, real_world: LidOpeningTwin) -> LidOpeningTwin:
        real_world.reset(real_world.draw(Split.TRAIN, 0, 0))
        return real_world


# --- reproducible ---------------------------------------------------------------------------------------------------


def fingerprint(twin: LidOpeningTwin, episode: int = 3) -> str:
    """Of every joint position and observation of 40 steps of one episode, and of a hold."""
    twin.reset(twin.draw(Split.TRAIN, 5, episode))
    trace = hashlib.sha256()

    def note() -> None:
        seen = twin.observe()
        for numbers in (twin.joint_positions, twin.data.qvel, seen.tcp_pose, seen.extra["bin_pose"]):
            trace.update(numbers.tobytes())

    open_lid(twin, steps=40, watch=note)
    twin.hold()
    note()
    return trace.hexdigest()


def test_the_same_start_gives_the_same_episode_bit_for_bit(task: TaskConfig, twin: LidOpeningTwin) -> None:
    first = fingerprint(twin)
    assert fingerprint(LidOpeningTwin(task)) == first
    assert fingerprint(twin, episode=4) != first


def test_a_reset_leaves_no_trace(twin: LidOpeningTwin) -> None:
    first = fingerprint(twin)
    open_lid(twin)
    for _ in range(30):
        twin.apply(np.array([STEP_M, 0.0, -STEP_M, 0.08]))
    assert fingerprint(twin) == first


def test_a_delayed_world_forgets_commands_at_a_reset(real_world: LidOpeningTwin) -> None:
    first = fingerprint(real_world)
    real_world.apply(np.array([STEP_M] * 3 + [0.08]))
    assert fingerprint(real_world) == first


def test_perception_noise_is_the_starts_own(twin: LidOpeningTwin) -> None:
    start = twin.draw(Split.TRAIN, 0, 0)
    poses = []
    for seed in (start.seed, start.seed, start.seed + 1):
        twin.reset(replace(start, seed=seed))
        poses.append(twin.observe().extra["bin_pose"])
    assert np.array_equal(poses[0], poses[1])
    assert not np.array_equal(poses[0], poses[2])
    assert np.abs(poses[0] - [start.x, start.y, twin.scene.table_height, start.yaw]).max() < 0.05


# --- time -----------------------------------------------------------------------------------------------------------


def test_the_stepped_clock_goes_on_by_exactly_one_period(twin: LidOpeningTwin) -> None:
    before, simulated = twin.clock.now_ns(), twin.data.time
    twin.apply(STILL)
    twin.hold()
    assert twin.clock.now_ns() - before == 2 * SECOND / CONTROL_HZ
    assert twin.data.time - simulated == pytest.approx(2 / CONTROL_HZ)


# --- the calibration error ------------------------------------------------------------------------------------------


def true_tcp(twin: LidOpeningTwin) -> Array:
    """[3] m: where the simulation has it."""
    position: Array = twin.data.site("tcp").xpos.copy()
    return position


@pytest.mark.parametrize("error", [-0.009, 0.0, 0.009])
def test_the_tcp_is_lower_than_the_robot_believes_by_the_height_error(twin: LidOpeningTwin, error: float) -> None:
    twin.reset(replace(twin.draw(Split.TRAIN, 0, 0), height_error=error))
    for _ in range(10):
        assert np.allclose(twin.observe().tcp_pose[:3] - true_tcp(twin), [0, 0, error], atol=1e-9)
        twin.apply(UP)


def test_the_robot_goes_home_by_its_own_belief(twin: LidOpeningTwin) -> None:
    """The error is in where commands lead, too: the believed home is the same, the real one is not."""
    for error in (-0.009, 0.009):
        twin.reset(replace(twin.draw(Split.TRAIN, 0, 0), height_error=error))
        assert np.allclose(twin.observe().tcp_pose[:3], [0.42, 0.0, 0.47], atol=1e-3)
        assert true_tcp(twin)[2] == pytest.approx(0.47 - error, abs=1e-3)


def test_displacements_are_not_scaled_by_the_error(twin: LidOpeningTwin) -> None:
    rises = []
    for error in (0.0, 0.009):
        twin.reset(replace(twin.draw(Split.TRAIN, 0, 0), height_error=error))
        before = true_tcp(twin)[2]
        for _ in range(5):
            twin.apply(UP)
        rises.append(true_tcp(twin)[2] - before)
    assert rises[0] == pytest.approx(rises[1], abs=2e-3)
    assert rises[0] > 0.02


def test_the_error_is_constant_in_one_task_and_drawn_anew_in_the_strict_one(
    twin: LidOpeningTwin, strict: TaskConfig
) -> None:
    errors = [twin.draw(Split.TRAIN, 0, episode).height_error for episode in range(50)]
    assert set(errors) == {0.010}
    changing = LidOpeningTwin(strict)
    errors = [changing.draw(Split.TRAIN, 0, episode).height_error for episode in range(200)]
    assert np.mean(errors) == pytest.approx(0.009, abs=0.001)
    assert np.std(errors) == pytest.approx(0.003, rel=0.2)


# --- worlds ---------------------------------------------------------------------------------------------------------


def test_the_perturbed_world_moves_otherwise(twin: LidOpeningTwin, real_world: LidOpeningTwin) -> None:
    start = twin.draw(Split.TRAIN, 0, 0)
    believed = []
    for robot in (twin, real_world):
        robot.reset(start)
        heights = []
        for _ in range(4):
            robot.apply(UP)
            heights.append(robot.observe().tcp_pose[2] - 0.47)
        believed.append(heights)
    assert believed[0][0] > 0.001
    assert abs(believed[1][0]) < 0.0005, "its commands take effect one step later"
    assert believed[1][-1] < believed[0][-1] - 0.002


def test_the_perturbed_world_weighs_and_errs_otherwise(twin: LidOpeningTwin, real_world: LidOpeningTwin) -> None:
    masses = [float(robot.model.body("bin").subtreemass[0]) for robot in (twin, real_world)]
    assert masses == pytest.approx([0.47, 0.54])
    friction = [robot.model.geom("bin_base").friction[0] for robot in (twin, real_world)]
    assert friction == pytest.approx([0.45, 0.38])
    assert real_world.draw(Split.TRAIN, 0, 0).height_error != twin.draw(Split.TRAIN, 0, 0).height_error


def test_a_hold_drops_the_commands_that_are_still_under_way(real_world: LidOpeningTwin) -> None:
    real_world.reset(real_world.draw(Split.TRAIN, 0, 0))
    for _ in range(5):
        real_world.hold()
    before = true_tcp(real_world)
    real_world.apply(UP)
    for _ in range(5):
        real_world.hold()
    assert np.allclose(true_tcp(real_world), before, atol=5e-4)
    real_world.apply(STILL)
    assert np.allclose(true_tcp(real_world), before, atol=5e-4), "nor do they come back with the next command"


def test_pushing_against_the_table_does_not_wind_up(twin: LidOpeningTwin) -> None:
    """After two seconds of pushing, the hand comes up again within a few steps."""
    twin.reset(replace(twin.draw(Split.TRAIN, 0, 0), x=0.9))
    for _ in range(40):
        twin.apply(np.array([0.005, 0.0, -STEP_M, 0.0]))
    low = true_tcp(twin)[2]
    assert frozenset({"world", "left_finger"}) in touching(twin) or frozenset({"world", "hand"}) in touching(twin)
    for _ in range(8):
        twin.apply(np.array([0.0, 0.0, STEP_M, 0.0]))
    assert true_tcp(twin)[2] > low + 0.03


# --- resetting the objects alone ------------------------------------------------------------------------------------


def test_objects_are_put_back_and_the_arm_stays(twin: LidOpeningTwin) -> None:
    twin.reset(replace(twin.draw(Split.TRAIN, 0, 0), height_error=0.0))
    assert open_lid(twin).success
    joints = [twin.model.joint(name).qposadr[0] for name in ARM_JOINTS]
    before, start = twin.joint_positions[joints], twin.draw(Split.TRAIN, 0, 7)
    twin.reset_objects(start)
    assert np.array_equal(twin.joint_positions[joints], before)
    truth = twin.truth()
    assert (truth.lid_angle, truth.moved, truth.success, truth.failed) == (0.0, 0.0, False, False)
    assert np.allclose(twin.observe().extra["bin_pose"][:2], [start.x, start.y], atol=0.006)


# --- the truth ------------------------------------------------------------------------------------------------------


def test_the_lid_stays_closed_while_nothing_touches_it(twin: LidOpeningTwin) -> None:
    twin.reset(twin.draw(Split.TRAIN, 0, 1))
    for step in range(80):
        twin.apply(np.array([-0.002, 0.012 * np.cos(step), 0.008 * np.sin(step / 6), 0.0]))
        assert not any("lid" in pair and len(pair) == 2 for pair in touching(twin))
        assert abs(twin.truth().lid_angle) < 0.01
    assert twin.truth().moved < 0.001
    assert not twin.truth().success


def test_it_is_a_finger_that_opens_the_lid(twin: LidOpeningTwin) -> None:
    """Nothing moves the lid before a finger touches it."""
    twin.reset(replace(twin.draw(Split.TRAIN, 0, 1), height_error=0.0))
    angles: list[float] = []
    touched: list[bool] = []

    def watch() -> None:
        angles.append(twin.truth().lid_angle)
        touched.append(any(pair & {"left_finger", "right_finger"} and "lid" in pair for pair in touching(twin)))

    assert open_lid(twin, watch=watch).success
    first = touched.index(True)
    assert max(map(abs, angles[:first])) < 0.01


@pytest.mark.parametrize(
    ("angle", "shift", "roll", "success", "failed"),
    [
        (1.35, 0.0, 0.0, True, False),
        (1.25, 0.0, 0.0, False, False),
        (1.35, 0.045, 0.0, False, True),
        (1.35, 0.035, 0.0, True, False),
        (1.35, 0.0, 0.25, False, True),
        (0.0, 0.0, 1.5, False, True),
    ],
)
def test_success_needs_an_open_lid_on_a_bin_that_stands_where_it_stood(
    twin: LidOpeningTwin, angle: float, shift: float, roll: float, success: bool, failed: bool
) -> None:
    place = twin.model.joint("bin_free").qposadr[0]
    twin.data.qpos[twin.model.joint("lid_hinge").qposadr[0]] = angle
    twin.data.qpos[place] += shift
    twin.data.qpos[place + 3 : place + 7] = [np.cos(roll / 2), np.sin(roll / 2), 0.0, 0.0]
    mujoco.mj_kinematics(twin.model, twin.data)
    truth = twin.truth()
    assert (truth.success, truth.failed) == (success, failed)
    assert truth.lid_angle == angle
    assert truth.moved == pytest.approx(shift)
    assert truth.tilt == pytest.approx(roll, abs=1e-6)


@pytest.mark.parametrize(("angle", "missed"), [(0.0, True), (0.15, True), (0.25, False)])
def test_a_hand_behind_the_hinge_of_a_closed_lid_has_missed_it(
    twin: LidOpeningTwin, angle: float, missed: bool
) -> None:
    """The bin is put under the hand instead of the hand behind the bin: what counts is where they stand."""
    x, y, _ = true_tcp(twin)
    hinge = twin.model.joint("lid_hinge").qposadr[0]
    for behind, failed in ((-0.01, False), (0.01, missed)):
        twin.reset_objects(replace(twin.start, x=x - twin.scene.bin.depth / 2 - behind, y=y, yaw=0.0))
        twin.data.qpos[hinge] = angle
        assert twin.truth().failed is failed


def test_before_the_bin_the_hand_has_missed_nothing_whatever_the_yaw(twin: LidOpeningTwin) -> None:
    for yaw in (-0.25, 0.0, 0.25):
        twin.reset(replace(twin.draw(Split.TRAIN, 0, 0), yaw=yaw))
        assert not twin.truth().failed


# --- the broken ear -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken(strict: TaskConfig) -> LidOpeningTwin:
    return LidOpeningTwin(strict)


def test_a_broken_ear_is_drawn_and_touches_nothing(broken: LidOpeningTwin) -> None:
    broken.reset(replace(broken.draw(Split.TRAIN, 0, 0), height_error=0.0))
    ear = broken.model.geom("ear_right")
    assert (int(ear.contype[0]), int(ear.conaffinity[0])) == (0, 0)
    assert ear.size.min() > 0
    seen: set[str] = set()
    truth = open_lid(broken, "right", watch=lambda: seen.update(geoms_touching(broken)))
    assert "ear_right" not in seen
    assert abs(truth.lid_angle) < 0.3
    assert not truth.success


def test_the_whole_ear_still_opens_it_and_the_arm_is_told_nothing(broken: LidOpeningTwin, twin: LidOpeningTwin) -> None:
    broken.reset(replace(broken.draw(Split.TRAIN, 0, 0), height_error=0.0))
    assert broken.observe().extra.keys() == twin.observe().extra.keys()
    assert open_lid(broken, "left").success


def test_a_mended_bin_opens_by_either_ear(strict: TaskConfig) -> None:
    mended = LidOpeningTwin(strict, whole=True)
    mended.reset(replace(mended.draw(Split.TRAIN, 0, 0), height_error=0.0))
    assert open_lid(mended, "right").success
