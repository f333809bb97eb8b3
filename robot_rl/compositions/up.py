"""`robot-rl up`: a run like that of `robot-rl run`, as a graph of ROS 2 nodes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from robot_rl.compositions.plan import REAL_TIME
from robot_rl.compositions.ros_side import ros_side
from robot_rl.compositions.running import RunRequest, run_task
from robot_rl.errors import ConfigError


def up(request: RunRequest, namespace: str, config: Path | None, console: Console) -> None:
    """`config`: a file of parameters for the nodes, as ROS 2 reads them. A new run that says no pace is at real time.

    Raises as `run_task` does, and `ConfigError` where ROS 2 is not installed, for a namespace that is none, or a file.
    """
    with ros_side("robot-rl up"):
        from robot_rl_ros.node import valid_namespace
        from robot_rl_ros.up import run_graph
    if config is not None and not config.is_file():
        raise ConfigError(f"--config {config}: expected a file of parameters, there is none")
    if request.pace is None and request.resume is None:
        request = replace(request, pace=REAL_TIME)
    run_task(request, console, partial(run_graph, namespace=valid_namespace(namespace), config=config))
