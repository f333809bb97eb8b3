from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import BadAction, BadObservation, IntegrityError
from robot_rl.policy.demonstrations import Demonstrations
from robot_rl.policy.features import FEATURES


@pytest.fixture
def demos() -> Demonstrations:
    """Two episodes, of 5 steps and of 3; the action counts the steps."""
    steps = np.arange(8.0)
    return Demonstrations(
        tcp_pose=np.tile([0.3, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0], (8, 1)),
        gripper_width=np.full(8, 0.02),
        bin_pose=np.zeros((8, 4)),
        action=np.stack([steps, steps, steps, 10 + steps], axis=1),
        episode=np.array([7, 7, 7, 7, 7, 3, 3, 3]),
    )


def test_a_window_is_the_chunk_that_began_at_its_step(demos: Demonstrations) -> None:
    features, chunks = demos.windows(3)
    assert features.shape == (8, FEATURES)
    assert (chunks.dtype.name, chunks.shape) == ("float32", (8, 3, 4))
    np.testing.assert_array_equal(chunks[1], demos.action[1:4])


def test_behind_its_episode_a_chunk_stands_still_with_the_last_gripper(demos: Demonstrations) -> None:
    _, chunks = demos.windows(3)
    np.testing.assert_array_equal(chunks[4], [[4, 4, 4, 14], [0, 0, 0, 14], [0, 0, 0, 14]])
    np.testing.assert_array_equal(chunks[7], [[7, 7, 7, 17], [0, 0, 0, 17], [0, 0, 0, 17]])


def test_episodes_are_counted(demos: Demonstrations) -> None:
    assert demos.episodes == 2


def test_what_is_saved_is_loaded(demos: Demonstrations, tmp_path: Path) -> None:
    demos.save(tmp_path / "demos.npz")
    loaded = Demonstrations.load(tmp_path / "demos.npz")
    for name in ("tcp_pose", "gripper_width", "bin_pose", "action", "episode"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(demos, name))


def test_a_torn_file_is_refused(demos: Demonstrations, tmp_path: Path) -> None:
    path = tmp_path / "demos.npz"
    demos.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(IntegrityError, match=r"demos\.npz"):
        Demonstrations.load(path)


def test_a_lacking_array_is_named(demos: Demonstrations, tmp_path: Path) -> None:
    np.savez(tmp_path / "demos.npz", action=demos.action)
    with pytest.raises(IntegrityError, match=r"expected arrays.*bin_pose.*got"):
        Demonstrations.load(tmp_path / "demos.npz")


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    names = ("tcp_pose", "gripper_width", "bin_pose", "action", "episode")
    objects: dict[str, Any] = {name: np.array([{}], dtype=object) for name in names}
    np.savez(tmp_path / "demos.npz", **objects)
    with pytest.raises(IntegrityError, match="pickle"):
        Demonstrations.load(tmp_path / "demos.npz")


def test_a_number_that_is_not_finite_is_refused(demos: Demonstrations) -> None:
    action = demos.action.copy()
    action[3, 1] = np.nan
    with pytest.raises(BadAction, match="action"):
        replace(demos, action=action)


def test_an_array_of_another_length_is_refused(demos: Demonstrations) -> None:
    with pytest.raises(BadObservation, match=r"bin_pose.*\(8, 4\).*\(7, 4\)"):
        replace(demos, bin_pose=demos.bin_pose[:-1])


def test_steps_of_an_episode_that_are_not_together_are_refused(demos: Demonstrations) -> None:
    with pytest.raises(BadObservation, match="together"):
        replace(demos, episode=np.array([7, 7, 7, 7, 3, 7, 3, 3]))
