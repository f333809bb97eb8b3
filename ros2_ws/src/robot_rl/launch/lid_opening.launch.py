"""`ros2 launch robot_rl lid_opening.launch.py`: a run as a graph of nodes, of the table that `robot-rl up` starts too.

Learner, camera and console are started again when they end; with robot, recorder or actor all ends.
"""

import atexit
import os
from contextlib import ExitStack

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from rich.console import Console
from robot_rl_ros.dds import dds_environment
from robot_rl_ros.graph import ENDS, PACKAGE, NodeSpec, nodes_of, remappings
from robot_rl_ros.launching import ARGUMENTS, request_of
from robot_rl_ros.node import valid_namespace

from robot_rl.compositions.operator_page import free_port
from robot_rl.compositions.running import plan_run
from robot_rl.compositions.sockets import socket_folder

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
RESTART_S = 1.0
GRACE_S = 15.0
"""How long a node may take to end in order; a learner that is niced on a busy machine takes some seconds."""


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs; `ros2 launch -s` lists the arguments."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=begin)])


def begin(context: LaunchContext) -> list[Node]:
    """The run's directory is made, or taken up again, and its nodes are started."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    namespace = valid_namespace(given["namespace"])
    plan = plan_run(request_of(given), Console(highlight=False))
    stack = ExitStack()
    atexit.register(stack.close)  # after the last node has ended
    sockets = stack.enter_context(socket_folder())
    port = None if plan.console_port is None else free_port(plan.console_port, plan.access)
    specs = nodes_of(plan, {name: f"ipc://{sockets}/{name}" for name in ENDS}, port)
    return [node_of(spec, namespace, given["config"]) for spec in specs]


def node_of(spec: NodeSpec, namespace: str, config: str) -> Node:
    """The process of a node; `config` is a file of parameters, or empty."""
    own = {key: ParameterValue(value, value_type=type(value)) for key, value in spec.parameters.items()}
    return Node(
        package=PACKAGE,
        executable=spec.executable,
        name=spec.name,
        namespace=namespace,
        parameters=[config, own] if config else [own],
        remappings=list(remappings(spec, namespace)),
        additional_env=ENVIRONMENT | dds_environment(os.environ, images=spec.images),
        output="screen",
        respawn=spec.restart,
        respawn_delay=RESTART_S,
        sigterm_timeout=str(GRACE_S),
        on_exit=None if spec.restart else [Shutdown(reason=f"{spec.name} has ended")],
    )
