"""What a node's parameters may be, on real rclpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robot_rl.errors import ConfigError
from tests.ros.graph import environment

pytest.importorskip("rclpy", reason="ROS 2's Python is not installed: pip install 'robot-rl[ros]'")

from robot_rl_ros.node import Parameter, declared, ros_node

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*' is deprecated:DeprecationWarning")
EPISODES: Parameter = (int, "episodes", (1, 100))
PERIOD: Parameter = (1.0, "s", (0.1, 60.0))


@pytest.mark.parametrize(
    ("given", "parameter", "expected"),
    [
        ("7", EPISODES, 7),
        ("100", EPISODES, 100),
        ("101", EPISODES, "Parameter p out of range"),
        ("many", EPISODES, "expecting type 'INTEGER'"),
        (None, EPISODES, "expected a value, got none"),
        (None, PERIOD, 1.0),
        ("0.1", PERIOD, 0.1),
        ("0.01", PERIOD, "Parameter p out of range"),
    ],
)
def test_a_parameter_is_of_its_type_and_within_its_bounds(
    given: str | None, parameter: Parameter, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    with ros_node("node", [] if given is None else ["node", "--ros-args", "-p", f"p:={given}"]) as node:
        if isinstance(expected, str):
            with pytest.raises(ConfigError, match=expected) as refused:
                declared(node, "p", *parameter)
            assert f"parameter 'p' ({parameter[1]})" in str(refused.value)
            return
        assert declared(node, "p", *parameter) == expected
        descriptor = node.describe_parameter("p")
        assert (descriptor.description, descriptor.read_only) == (parameter[1], True)
        assert len(descriptor.integer_range) + len(descriptor.floating_point_range) == 1
