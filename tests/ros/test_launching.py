"""What the launch file's arguments mean; and, where ROS 2's `launch` is installed, a launch from begin to end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from robot_rl_ros.launching import ARGUMENTS, request_of

from robot_rl.compositions.adapter_source import published
from robot_rl.compositions.running import RunRequest
from robot_rl.console.access import Access
from robot_rl.errors import ConfigError
from robot_rl.store.run import RunDirectory
from tests.realtime_run import labels, short_task
from tests.ros.graph import ROOT, environment

DEFAULTS = {name: default for name, (default, _) in ARGUMENTS.items()}


def test_what_is_not_said_is_what_robot_rl_up_takes() -> None:
    assert request_of(DEFAULTS) == RunRequest(task="lid_opening", pace="real-time", hw="twin", console_port=8000)


def test_what_is_said_is_what_is_asked_for() -> None:
    said = {"method": "zprl", "episodes": "7", "seed": "3", "label": "human", "out": "/tmp/x", "console_port": ""}
    expected = RunRequest("lid_opening", "zprl", 7, 3, "human", "real-time", "twin", out=Path("/tmp/x"))
    assert request_of(DEFAULTS | said) == expected
    assert request_of(DEFAULTS | {"hw": "protocol_twin"}).hw == "protocol_twin"
    served = request_of(DEFAULTS | {"policy": "ipc:///tmp/p", "policy_keys": "keys/me"})
    assert (served.policy, served.policy_keys) == ("ipc:///tmp/p", Path("keys/me"))
    access = request_of(DEFAULTS | {"console_host": "0.0.0.0", "console_token": "true"}).access
    assert access == Access("0.0.0.0", token=True)
    begun = request_of(DEFAULTS | {"from": "runs/one", "world": "real"})
    assert (begun.begin_from, begun.world, begun.task) == (Path("runs/one"), "real", None)  # that run's own task
    assert request_of(DEFAULTS | {"from": "runs/one", "task": "cell_7.yaml"}).task == "cell_7.yaml"
    resumed = request_of(DEFAULTS | {"resume": "runs/one"})
    assert (resumed.task, resumed.hw, resumed.pace) == (None, None, None)  # a resumed run has its own
    assert request_of(DEFAULTS | {"pace": "lockstep"}).pace == "lockstep"


def test_a_pace_that_there_is_not_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="pace: there is no 'lock-step'; did you mean 'lockstep'"):
        request_of(DEFAULTS | {"pace": "lock-step"})


@pytest.mark.parametrize(("name", "value"), [("episodes", "many"), ("seed", "-1"), ("console_token", "yes")])
def test_what_cannot_be_meant_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected .* got '{value}'"):
        request_of(DEFAULTS | {name: value})


def test_a_robot_that_cannot_be_used_yet_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="hw franka: it has no cameras"):
        request_of(DEFAULTS | {"hw": "franka"})
    with pytest.raises(ConfigError, match="there is no 'protocol-twin'; did you mean 'protocol_twin'"):
        request_of(DEFAULTS | {"hw": "protocol-twin"})


LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

arguments = [tuple(word.split(":=")) for word in sys.argv[2:]]
service = LaunchService()
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


@pytest.mark.timeout(120)
def test_a_launch_is_a_run_that_ends_clean(tmp_path: Path) -> None:
    pytest.importorskip("launch_ros", reason="ROS 2's `launch` is not on PyPI: source a ROS 2 that has it")
    run = RunDirectory(tmp_path / "run")
    file = ROOT / "ros2_ws" / "src" / "robot_rl" / "launch" / "lid_opening.launch.py"
    said = [f"task:={short_task(tmp_path)}", "episodes:=1", f"out:={run.path}", "namespace:=/cell_1", "console_port:=0"]
    command = [sys.executable, "-c", LAUNCH, str(file), *said]
    env = environment(tmp_path) | {"AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH", sys.prefix)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("process has finished cleanly") == 6, done.stdout
    assert list(labels(run)) == list(published(run.adapters)) == [1]
