"""`python -m sim_twin.protocol.process`: the simulated robot and its scene, in real time, in a process of their own.

The driver talks to it as to a robot, in libfranka's protocol on a loopback address of its own. What only a twin has
(starts, truth, perception) is asked for on a second socket, between two ticks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from franky_sim import LocalHostnames

from robot_rl.config import TaskConfig
from robot_rl.processes import begin_service
from robot_rl.types import Array
from robot_rl.wire.rpc import Reply, RpcServer
from robot_rl.wire.schemas import from_plain, to_plain
from robot_rl.wire.values import Header
from sim_twin.lid_opening import GRIPPER_M_S, GRIPPER_MAX
from sim_twin.protocol.scene import TICK_S, ProtocolScene, SceneSimulator
from sim_twin.protocol.server import RobotServer
from sim_twin.starts import Start

BEHIND_S = 0.1
"""A simulation that is behind the wall's clock by more than this gives up catching up: it is slower than real time."""
HAND_FORCE_N = 70.0
PRIORITY = -10
"""Niceness, where it may be chosen."""


class Simulation:
    """Robot, scene and server, a tick at a time."""

    def __init__(self, scene: ProtocolScene, endpoint: str) -> None:
        self.scene = scene
        self.simulator = SceneSimulator(scene)
        self.simulator.init()
        self.server = RobotServer(self.simulator.robot, LocalHostnames())
        self.server.init()
        self.simulator.start()
        self.rpc = RpcServer(
            endpoint,
            {
                "address": lambda header, arrays: ({"address": str(self.server.hostname)}, ()),
                "perceive": self._perceive,
                "truth": self._truth,
                "reset": self._reset,
                "reset_objects": self._reset_objects,
                "trip": self._trip,
            },
        )
        self._ticks = 0

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping` is set: a tick each millisecond, or as many as the machine can do."""
        due = time.monotonic()
        while not stopping.is_set():
            self.server.process_commands()
            self.simulator.step()
            self.server.send_state()
            self._ticks += 1
            self.rpc.poll()
            due = max(due + TICK_S, time.monotonic() - BEHIND_S)
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        self.rpc.close()
        self.server.cleanup()

    def _perceive(self, header: Header, arrays: list[Array]) -> Reply:
        """{stamp_ns, simulated_s} and the arrays bin pose [4], joint positions [nq], true TCP [3]."""
        told = {"stamp_ns": time.monotonic_ns(), "simulated_s": self._ticks * TICK_S}
        return told, (self.scene.perceive(), self.scene.joint_positions, self.scene.tcp)

    def _truth(self, header: Header, arrays: list[Array]) -> Reply:
        return {"truth": to_plain(self.scene.truth(), [])}, ()

    def _reset(self, header: Header, arrays: list[Array]) -> Reply:
        """{start}: everything anew, the arm included; the driver is not in control meanwhile."""
        self.scene.reset(from_plain(Start, header.get("start"), ()))
        self.simulator.robot.set_hand_goal(GRIPPER_MAX / 2, GRIPPER_M_S / 2, HAND_FORCE_N)
        self.scene.data.qfrc_applied[:] = np.zeros(self.scene.model.nv)
        self.server.stay()
        return {}, ()

    def _reset_objects(self, header: Header, arrays: list[Array]) -> Reply:
        self.scene.reset_objects(from_plain(Start, header.get("start"), ()))
        return {}, ()

    def _trip(self, header: Header, arrays: list[Array]) -> Reply:
        self.server.trip()
        return {}, ()


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate until a signal comes or the parent ends."""
    parser = argparse.ArgumentParser(prog="python -m sim_twin.protocol.process", description=__doc__)
    parser.add_argument("--task", required=True, type=Path, help="the task as JSON, every setting said")
    parser.add_argument("--world", default="twin", help="which of the task's worlds (default: %(default)s)")
    parser.add_argument("--endpoint", required=True, help="where to serve what only a twin has, e.g. ipc:///run/twin")
    arguments = parser.parse_args(argv)
    stopping = begin_service()
    with contextlib.suppress(PermissionError):  # a robot waits for nobody; where that is not allowed, it is slower
        os.setpriority(os.PRIO_PROCESS, 0, min(PRIORITY, os.getpriority(os.PRIO_PROCESS, 0)))
    task = TaskConfig.model_validate_json(arguments.task.read_text(encoding="utf-8"))
    simulation = Simulation(ProtocolScene(task, arguments.world), arguments.endpoint)
    try:
        simulation.run(stopping)
    finally:
        simulation.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
