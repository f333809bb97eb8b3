"""The ROS side is imported when a verb that needs it is used, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from robot_rl.errors import ConfigError


@contextmanager
def ros_side(what: str) -> Iterator[None]:
    """An import that fails in this block is raised as `ConfigError`, with what to install for `what`."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{what}: expected ROS 2's Python packages, got: {error}. Install them with pip install 'robot-rl[ros]', "
            "or source a ROS 2 Jazzy in whose Python robot-rl is installed"
        ) from error
