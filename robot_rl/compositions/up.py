"""`robot-rl up`: a run like that of `robot-rl run`, as a graph of ROS 2 nodes."""

from __future__ import annotations

from functools import partial

from rich.console import Console

from robot_rl.compositions.ros_side import ros_side
from robot_rl.compositions.running import RunRequest, run_task


def up(request: RunRequest, namespace: str, console: Console) -> None:
    """Raises as `run_task` does, and `ConfigError` where ROS 2 is not installed or for a namespace that is none."""
    with ros_side("robot-rl up"):
        from robot_rl_ros.node import valid_namespace
        from robot_rl_ros.up import run_graph
    run_task(request, console, partial(run_graph, namespace=valid_namespace(namespace)))
