"""A node whose lifecycle others may manage, as those of hardware and learner are (ROS 2's managed nodes).

It is configured and activated by its own process, so that a launch needs no manager. `deactivate` and `activate` may
come at any time after that. `cleanup` is refused: what is to be set up anew is started anew. `shutdown` ends the
process in order, and whoever started it does what it does when the node ends.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from robot_rl.safety.guard import Guard
from robot_rl.types import SafetyLevel

AUTHOR = "lifecycle"


def end_process() -> None:
    """As a launch ends it."""
    os.kill(os.getpid(), signal.SIGTERM)


class ManagedNode(LifecycleNode):
    """`active` is what the node's work looks at."""

    def __init__(self, name: str, *, namespace: str = "", end: Callable[[], object] = end_process) -> None:
        super().__init__(name, namespace=namespace)
        self.active = threading.Event()
        self._end = end

    def begin(self) -> None:
        """Configured and active from now on."""
        self.trigger_configure()
        self.trigger_activate()

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Its work goes on."""
        self.active.set()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Its work rests."""
        self.active.clear()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Refused."""
        self.get_logger().warning("cleanup is refused: end the node and start it anew")
        return TransitionCallbackReturn.FAILURE

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The process ends."""
        self.active.clear()
        self._end()
        return TransitionCallbackReturn.SUCCESS


def keep_still(guard: Guard, active: bool) -> None:
    """To be called every control period: while its node is not active a robot is stopped, again and again if cleared.

    The STOP is latched: after `activate`, a person clears it.
    """
    if not active and guard.safety.level < SafetyLevel.STOP:
        guard.stop(AUTHOR, "the robot's node is not active")
