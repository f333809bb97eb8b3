"""The Franka hand: the newest width it reported, and one motion at a time towards the newest width it was asked for.

It has a thread of its own: the hand reports at its own pace, and a motion takes as long as it takes.
"""

from __future__ import annotations

import threading

import franky

from robot_rl.drivers.franka_config import GripperConfig
from robot_rl.errors import RobotFault, RobotLost, RobotReflex

LOOK_S = 0.01
WHATEVER_M = 0.1
"""A grasp is content with any width: the width is the policy's business, and the hand keeps its force."""


class FrankaHand:
    """Raises `RobotLost` if there is no hand at `address`."""

    def __init__(self, address: str, config: GripperConfig) -> None:
        self._config = config
        try:
            self._hand = franky.Gripper(address)
            self._width = float(self._hand.width)
        except Exception as error:  # the SDK raises several kinds without a common base
            raise RobotLost(
                f"no gripper at {address}: {error}; is the hand configured, are the joints open?"
            ) from error
        self._target: float | None = None
        self._sent = self._width
        self._error: RobotFault | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="franka-hand", daemon=True)
        self._thread.start()

    @property
    def width(self) -> float:
        """m, as it was reported last. Raises what the hand's thread met, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._width

    def go(self, width: float) -> None:
        """Towards `width` m, as soon as the motion under way has ended."""
        self._target = min(max(width, 0.0), self._config.max_width)

    def stay(self) -> None:
        """No motion after the one that is under way."""
        self._target = None

    def close(self) -> None:
        """Ends the thread; a motion under way is stopped by the hand itself when its connection closes."""
        self._closing.set()
        self._thread.join(2.0)

    def _work(self) -> None:
        moving: franky.BoolFuture | None = None
        while not self._closing.wait(LOOK_S):
            try:
                self._width = float(self._hand.width)
                if moving is not None and moving.wait(0.0):
                    moving.get()
                    moving = None
                target = self._target
                if moving is None and target is not None and abs(target - self._sent) > self._config.resolution:
                    moving = self._start(target)
                    self._sent = target
            except franky.NetworkException as error:
                self._error = RobotLost(f"the gripper's connection is gone: {error}")
                return
            except Exception as error:  # a refused or failed motion: the robot holds, and a person is told
                self._error = RobotReflex(f"the gripper: {error}")
                moving, self._target = None, None

    def _start(self, target: float) -> franky.BoolFuture:
        """Closing keeps its force on what is between the fingers; opening is a plain motion."""
        speed = self._config.speed
        if target < self._width:
            return self._hand.grasp_async(target, speed, self._config.force, WHATEVER_M, WHATEVER_M)
        return self._hand.move_async(target, speed)
