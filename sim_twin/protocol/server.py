"""The server of libfranka's protocol in front of the simulated arm: `franky-sim`'s, that waits and that has reflexes.

A robot runs by its own clock; a simulated one can afford to wait a little for the torques that answer its last state,
so that a busy machine slows the simulation down instead of feeding it torques of old states.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from franky_sim import BaseRobot, FrankaRobotServer
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    BaseCommand,
    MoveStatus,
    RobotCommand,
    RobotMode,
)

ANSWER_S = 0.01
"""How long a tick waits for the client's answer while a motion runs."""
LOOK_S = 5e-5
ERRORS = 41
"""Flags of the protocol's error list."""
CARTESIAN_REFLEX = 7
"""Its index of "a collision was detected": the force at the hand went beyond the threshold."""


class Recovery(AutomaticErrorRecoveryCommand):  # type: ignore[misc]  # franky-sim has no types
    """The client's call for automatic error recovery."""

    def handle(self, server: RobotServer) -> None:
        server.recovered()
        super().handle(server)


class RobotServer(FrankaRobotServer):  # type: ignore[misc]
    """`franky-sim`'s robot server, with what a test of a driver needs beside it."""

    def __init__(self, robot: BaseRobot, hostnames: Iterable[str]) -> None:
        self._answered = False
        self._tripped = False
        super().__init__(robot, hostnames)
        # There is no way in: the recovery of franky-sim answers without telling its server.
        self._FrankaServer__command_class_map[RobotCommand.kAutomaticErrorRecovery] = Recovery

    def trip(self) -> None:
        """What the robot does when it feels a collision: the motion is aborted, and no other begins until recovery."""
        motion = self.current_motion_id
        self.stop_motion(send_preemption_signal=False)
        self._tripped = True
        if motion:
            BaseCommand.send_response(self._tcp_socket, RobotCommand.kMove, motion, MoveStatus.kReflexAborted)
            self.reset_current_motion_id()

    def recovered(self) -> None:
        self._tripped = False

    def stay(self) -> None:
        """Hold the joints where they are now: somebody has moved them in the simulation."""
        self._reset_state()

    def start_motion(self, *arguments: Any) -> None:
        if self._tripped:
            raise RuntimeError("a motion is asked for in reflex mode")  # answered as "aborted" by the caller
        super().start_motion(*arguments)

    @property
    def robot_state(self) -> Any:
        state = super().robot_state
        if not self._tripped:
            return state
        flags = tuple(index == CARTESIAN_REFLEX for index in range(ERRORS))
        return state.replace(robot_mode=RobotMode.kReflex, errors=flags, reflex_reason=flags)

    def _process_udp_commands(self) -> None:
        self._answered = False
        super()._process_udp_commands()
        deadline = time.monotonic() + ANSWER_S
        while self.current_motion_id and not self._answered and time.monotonic() < deadline:
            time.sleep(LOOK_S)
            super()._process_udp_commands()

    def _handle_udp_command(self, command_data: bytes) -> None:
        self._answered = True
        super()._handle_udp_command(command_data)
