from dataclasses import replace

import numpy as np
import pytest

from robot_rl.errors import BadObservation
from robot_rl.policy.features import FEATURES, read_features, state_features
from robot_rl.types import Array
from tests.policy.conftest import observe


def test_the_bin_sees_the_tcp_in_its_own_frame() -> None:
    bin_pose = np.array([0.5, 0.1, 0.0, np.pi / 2])
    features = read_features([observe(np.array([0.5, 0.3, 0.12]), bin_pose, width=0.04)])
    assert features.shape == (1, FEATURES)
    expected = [0.5, 0.3, 0.12, 0.04, 0.5, 0.1, 1.0, 0.0, 0.2, 0.0, 0.12]
    np.testing.assert_allclose(features[0], expected, atol=1e-12)


def test_turning_bin_and_tcp_together_leaves_what_the_bin_sees() -> None:
    angle, at, bin_pose = 0.3, np.array([0.4, 0.05, 0.2]), np.array([0.5, -0.1, 0.0, 0.1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = np.array([*turn @ bin_pose[:2], 0.0, bin_pose[3] + angle])
    one = read_features([observe(at, bin_pose)])[0, 8:]
    np.testing.assert_allclose(read_features([observe(np.array([*turn @ at[:2], 0.2]), turned)])[0, 8:], one)


def test_observations_and_demonstrations_give_the_same_features() -> None:
    rng = np.random.default_rng(0)
    tcp, bins = rng.uniform(0.1, 0.5, (5, 3)), rng.uniform(-0.2, 0.2, (5, 4))
    poses = np.concatenate([tcp, np.tile([1.0, 0.0, 0.0, 0.0], (5, 1))], axis=1)
    together = state_features(poses, np.full(5, 0.02), bins)
    np.testing.assert_array_equal(read_features([observe(*pair) for pair in zip(tcp, bins, strict=True)]), together)


@pytest.mark.parametrize(
    "bin_pose",
    [np.zeros(3), np.array([0.5, np.nan, 0.0, 0.0]), np.array(["a", "b", "c", "d"])],
    ids=["shape", "nan", "text"],
)
def test_a_bad_value_is_named_with_what_was_expected(bin_pose: Array) -> None:
    bad = replace(observe(np.zeros(3), np.zeros(4)), extra={"bin_pose": bin_pose})
    with pytest.raises(BadObservation, match=r"extra\.bin_pose.*shape \(4,\)"):
        read_features([bad])


def test_a_lacking_extra_is_named_with_those_that_came() -> None:
    bad = replace(observe(np.zeros(3), np.zeros(4)), extra={"cup_pose": np.zeros(4)})
    with pytest.raises(BadObservation, match=r"extra\.bin_pose.*cup_pose"):
        read_features([bad])


def test_no_observation_is_refused() -> None:
    with pytest.raises(BadObservation, match="none"):
        read_features([])
