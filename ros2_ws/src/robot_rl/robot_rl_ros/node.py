"""A node's life: it begins without signal handlers of ROS's own, and ends in order whatever comes meanwhile."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import rclpy
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.duration import Duration
from rclpy.exceptions import (
    InvalidNamespaceException,
    InvalidParameterTypeException,
    InvalidParameterValueException,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_namespace import validate_namespace

from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.processes import begin_service
from robot_rl_ros.diagnostics import PERIOD
from robot_rl_ros.lifecycle import ManagedNode

Parameter = tuple[Any, str] | tuple[Any, str, tuple[float, float]]
"""(its default, or its type if it must be given; what it is; the lowest and the highest value)."""
ROS_TYPES = {
    str: RosParameter.Type.STRING,
    int: RosParameter.Type.INTEGER,
    float: RosParameter.Type.DOUBLE,
    bool: RosParameter.Type.BOOL,
}
PARTING_S = 1.0
"""A node that ends waits at most this long for its listeners: ten heartbeats of our profiles (`robot_rl_ros.dds`)."""
COMMON: Mapping[str, Parameter] = {
    PERIOD: (1.0, "s, between two words on /diagnostics", (0.1, 60.0)),
}
"""Of every node; config/robot_rl.yaml is a file of them."""


def await_heard(node: Node) -> None:
    """Until whoever listens has what was said last; what a node says as it ends would else be lost now and then."""
    end = time.monotonic() + PARTING_S
    for publisher in node.publishers:
        publisher.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))


@contextmanager
def ros_node(
    name: str, arguments: Sequence[str] = (), namespace: str = "", kind: Callable[..., Node] = Node
) -> Iterator[Node]:
    """A node for the length of the block; `arguments` are a command line's, with ROS's behind --ros-args.

    Signals stay the caller's: a node that ROS shuts down under a robot's guard could not say that it holds.
    """
    rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = kind(name, namespace=namespace)
        try:
            yield node
        finally:
            with undisturbed():
                await_heard(node)
                node.destroy_node()
    finally:
        with undisturbed():
            rclpy.shutdown()


@dataclass(frozen=True)
class Live:
    """What a node's work is given."""

    node: Node
    parameters: Mapping[str, Any]
    stopping: threading.Event
    """Set by SIGTERM and SIGINT, and when the process that started this one ends."""
    active: Callable[[], bool] = lambda: True
    """What a managed node's work looks at, again and again: False while it is to rest."""


def serve_node(
    name: str, parameters: Mapping[str, Parameter], work: Callable[[Live], int | None], *, managed: bool = False
) -> int:
    """Be the node `name` while `work` lasts; its exit status (None: 0), or 2 for what cannot be.

    `parameters`, and those of `COMMON`, are read once, at the start.
    What `work` gives the node to do, ROS's own services included, a thread of the node's does meanwhile. One that is
    `managed` has a lifecycle, and begins active.
    """
    stopping = begin_service()
    try:
        with ros_node(name, sys.argv, kind=ManagedNode if managed else Node) as node:
            values = {key: declared(node, key, *described) for key, described in {**COMMON, **parameters}.items()}
            live = Live(node, values, stopping)
            if isinstance(node, ManagedNode):
                node.begin()
                live = replace(live, active=node.active.is_set)
            with _spinning(node):
                return work(live) or 0
    except RobotRLError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2


def declared(node: Node, key: str, default: Any, description: str, bounds: tuple[float, float] | None = None) -> Any:
    """The value of a parameter.

    Raises `ConfigError` for one that must be given and is not, is of another type, or out of its bounds.
    """
    kind = default if isinstance(default, type) else type(default)
    described = ParameterDescriptor(description=description, read_only=True)
    if bounds is not None and kind is int:
        described.integer_range = [IntegerRange(from_value=int(bounds[0]), to_value=int(bounds[1]), step=0)]
    elif bounds is not None:
        described.floating_point_range = [FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)]
    initial = ROS_TYPES[kind] if default is kind else default
    try:
        value = node.declare_parameter(key, initial, described).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ConfigError(f"parameter {key!r} ({description}): {error}") from error
    if default is kind and value in (None, ""):
        raise ConfigError(f"parameter {key!r} ({description}): expected a value, got none")
    return value


@contextmanager
def _spinning(node: Node) -> Iterator[None]:
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with suppress(ExternalShutdownException):  # ROS was shut down: the work ends by itself
            executor.spin()

    thread = threading.Thread(target=spin, name="ros")
    thread.start()
    try:
        yield
    finally:
        with undisturbed():
            executor.shutdown()
            thread.join()


@contextmanager
def undisturbed() -> Iterator[None]:
    """SIGINT and SIGTERM are ignored: impatience must not cut an orderly end short.

    Elsewhere than in the main thread there is nothing to be ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def valid_namespace(namespace: str) -> str:
    """With a slash before it and none behind. Raises `ConfigError` for what ROS does not take."""
    place = "/" + namespace.strip("/")
    try:
        validate_namespace(place)
    except InvalidNamespaceException as error:
        raise ConfigError(
            f"namespace {namespace!r}: expected letters, digits, _ and /, no digit first: {error}"
        ) from error
    return place
