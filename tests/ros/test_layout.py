"""The files that ROS 2's tools and pip look for: one for every node in the table, and the package's own."""

from __future__ import annotations

import ast
import copy
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import pytest
import yaml
from robot_rl_ros.graph import ENDS, NodeSpec, nodes_of, ros_arguments

from robot_rl import __version__
from robot_rl.compositions.plan import LOCKSTEP, RunPlan, new_run, open_run
from robot_rl.errors import ConfigError
from tests.realtime_run import short_task
from tests.ros.graph import ROOT

PACKAGE = ROOT / "ros2_ws" / "src" / "robot_rl"
MESSAGES = ROOT / "ros2_ws" / "src" / "robot_rl_msgs"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    folder = tmp_path_factory.mktemp("layout")
    new_run(folder / "run", str(short_task(folder)), "usr", 0, {})
    run, info, task, policy = open_run(folder / "run")
    return RunPlan(run, info, task, policy, 10, auto_label=True, console_port=None)


def table(plan: RunPlan, port: int | None = 8000) -> dict[str, NodeSpec]:
    return {spec.name: spec for spec in nodes_of(plan, {name: f"ipc:///{name}" for name in ENDS}, port)}


def test_every_node_has_an_executable_and_a_module_and_there_is_no_other(plan: RunPlan) -> None:
    names = {spec.executable for spec in table(plan).values()}
    executables = {path.name for path in (PACKAGE / "executables").iterdir() if os.access(path, os.X_OK)}
    assert names == executables == {path.stem for path in (PACKAGE / "robot_rl_ros").glob("*_node.py")}


def test_a_node_is_given_the_parameters_that_it_declares_and_no_other(plan: RunPlan) -> None:
    for spec in table(plan).values():
        tree = ast.parse((PACKAGE / "robot_rl_ros" / f"{spec.executable}.py").read_text())
        (declared,) = (
            {key.value for key in statement.value.keys if isinstance(key, ast.Constant)}
            for statement in tree.body
            if isinstance(statement, (ast.Assign, ast.AnnAssign))
            and ast.unparse(statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0])
            == "PARAMETERS"
            and isinstance(statement.value, ast.Dict)
        )
        assert declared == spec.parameters.keys(), spec.name


def test_without_a_page_there_is_neither_console_nor_camera(plan: RunPlan) -> None:
    assert list(table(plan, None)) == ["recorder", "robot", "learner", "actor"]


def test_in_lockstep_every_node_has_the_simulated_time_of_its_own_graph(plan: RunPlan) -> None:
    by_the_wall, simulated = table(plan), table(replace(plan, pace=LOCKSTEP))
    differing: dict[str, dict[str, Any]] = {
        "recorder": {"frames": ""},  # what a camera shows by the clock on the wall is no part of such a run
        "robot": {"lockstep": True},
        "learner": {"ordered": True},
        "actor": {"lockstep": True, "frames": ""},
    }
    for name, spec in simulated.items():
        expected = {**by_the_wall[name].parameters, **differing.get(name, {}), "use_sim_time": True}
        assert dict(spec.parameters) == expected, name
        for namespace, clock in (("/", "/clock"), ("/cell_1", "/cell_1/clock")):
            assert f"/clock:={clock}" in ros_arguments(spec, namespace, [])
        assert "/clock" not in " ".join(ros_arguments(by_the_wall[name], "/cell_1", []))


def test_in_lockstep_a_policy_by_sight_is_refused_with_its_cameras(plan: RunPlan) -> None:
    seeing: Any = copy.copy(plan.policy)
    seeing.spec = replace(plan.policy.spec, observation={"images.front": (48, 48, 3)})
    assert "camera" in table(replace(plan, policy=seeing), None)
    with pytest.raises(ConfigError, match=r"reads no camera, this one reads front, .* `robot-rl run --resume /"):
        table(replace(plan, policy=seeing, pace=LOCKSTEP), None)


def test_the_file_of_parameters_shows_those_of_every_node_and_their_defaults() -> None:
    node = pytest.importorskip("robot_rl_ros.node", reason="ROS 2's Python is not installed")
    shown = yaml.safe_load((PACKAGE / "config" / "robot_rl.yaml").read_text())["/**"]["ros__parameters"]
    assert shown == {name: described[0] for name, described in node.COMMON.items()}


def test_every_message_is_built() -> None:
    listed = {line.strip().strip('"') for line in (MESSAGES / "CMakeLists.txt").read_text().splitlines()}
    files = {str(path.relative_to(MESSAGES)) for path in MESSAGES.glob("*/*") if path.suffix in (".msg", ".srv")}
    assert files == {line for line in listed if line.endswith((".msg", ".srv"))}


def test_a_node_stays_below_a_hundred_lines() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (PACKAGE / "robot_rl_ros").glob("*_node.py")}
    assert max(lengths.values()) < 100, lengths


def test_the_packages_are_of_this_version() -> None:
    for package in (PACKAGE, MESSAGES):
        assert ElementTree.parse(package / "package.xml").findtext("version") == __version__
    assert f'version="{__version__}"' in (PACKAGE / "setup.py").read_text()
