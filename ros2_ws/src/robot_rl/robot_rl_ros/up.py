"""Composition (b): a run as a graph of ROS 2 nodes, a process each; this process starts and watches them.

`robot-rl up` where `ros2 launch` is not installed: the same table of nodes, the same executables. Learner, camera and
console are started again when they end. Without robot, recorder or actor the run ends, in order, and is resumed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robot_rl.compositions.operator_page import announced, free_port
from robot_rl.compositions.plan import RunPlan
from robot_rl.compositions.realtime import resumable
from robot_rl.compositions.sockets import socket_folder
from robot_rl.compositions.terminal import Shown
from robot_rl.errors import DeadlineMissed
from robot_rl.processes import Children
from robot_rl.wire.rpc import RpcClient
from robot_rl_ros.dds import dds_environment
from robot_rl_ros.graph import ENDS, NodeSpec, nodes_of, ros_arguments

LOOK_S = 0.2
SNAPSHOT_S = 1.0


@dataclass(frozen=True)
class RemoteActor:
    """The actor's node as the terminal shows it."""

    line: RpcClient

    def snapshot(self) -> dict[str, Any]:
        """Raises `DeadlineMissed` while it does not answer."""
        return dict(self.line.call("snapshot", timeout_s=SNAPSHOT_S)[0])


def run_graph(
    plan: RunPlan,
    watch: Callable[[Shown], None],
    announce: Callable[[str], None],
    *,
    namespace: str = "/",
    config: Path | None = None,
) -> None:
    """Run `plan` to its last episode. `watch(actor)` is called a few times a second, `announce(url)` for a page.

    `namespace` as `valid_namespace` has it; `config` is a file of parameters for the nodes. Raises `ProcessEnded`,
    which says how to go on, when robot, recorder or actor end early.
    """
    run = plan.run
    port = None if plan.console_port is None else free_port(plan.console_port, plan.access)
    with ExitStack() as stack:
        sockets = stack.enter_context(socket_folder())
        ends = {name: f"ipc://{sockets}/{name}" for name in ENDS}
        children = Children(run.path / "logs")
        stack.callback(children.stop)
        stack.enter_context(resumable(children, ("robot", "recorder"), f"robot-rl up --resume {run.path}"))
        for spec in nodes_of(plan, ends, port):
            files = [*([config] if config else []), write_parameters(sockets, spec)]
            children.start(
                spec.name, f"robot_rl_ros.{spec.executable}", ros_arguments(spec, namespace, files),
                restart=spec.restart, finishes=spec.finishes,
                environment=dds_environment(os.environ, images=spec.images),
            )  # fmt: skip
        line = RpcClient(ends["actor"])
        stack.callback(line.close)
        told = None
        while not children.finished("actor"):
            children.tend()
            if told is None and (told := announced(children)) is not None:
                announce(told)
            with suppress(DeadlineMissed):
                watch(RemoteActor(line))
            time.sleep(LOOK_S)


def write_parameters(folder: Path, spec: NodeSpec) -> Path:
    """A node's parameters as ROS 2 reads them."""
    path = folder / f"{spec.name}.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(spec.parameters)}}))
    return path
