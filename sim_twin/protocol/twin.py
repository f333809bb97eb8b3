"""The protocol twin as the service sees it: the real Franka driver, and beside it what only a twin knows.

What the fast twin does to the robot's view of itself is done here too: the TCP is lower than it is reported to be by
the episode's height error, and the bin's pose is what perception makes of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.clock import Clock, RealClock, SteppedClock
from robot_rl.compositions.sockets import socket_folder
from robot_rl.config import TaskConfig
from robot_rl.drivers.franka import FrankaRobot
from robot_rl.drivers.franka_config import FrankaConfig, GripperConfig
from robot_rl.errors import ConfigError, DeadlineMissed, ProcessEnded, RobotLost
from robot_rl.processes import Children
from robot_rl.twins import Split
from robot_rl.types import Array, Observation, RobotSpec
from robot_rl.wire.rpc import RpcClient
from robot_rl.wire.schemas import from_plain, to_plain
from robot_rl.wire.values import Header
from sim_twin.config import parse_scene
from sim_twin.lid_opening import CONTROL_HZ, GRIPPER_M_S, GRIPPER_MAX, LEAD_M, STEP_M, Truth
from sim_twin.scene import READY
from sim_twin.starts import Start, draw_start

SIMULATION = "simulation"
START_S = 40.0
"""How long the simulation may take to begin."""
CALL_S = 0.5
"""How long one of its answers may take: less than the guard's own may."""


@dataclass(frozen=True)
class Perceived:
    """What the simulation told at one moment."""

    stamp_ns: int
    simulated_s: float
    """Of the simulation's own time: less than passed on the wall where the machine is too slow."""
    bin_pose: Array
    """[4] m and rad, as perception has it."""
    qpos: Array
    """[nq]."""
    tcp: Array
    """[3] m, where it really is."""


class ProtocolTwin:
    """A `Robot` that also resets its scene and knows the truth, in real time.

    Its simulation is a process that ends with this one. Raises `ConfigError` for a simulated clock: the protocol knows
    none.
    """

    is_twin = True
    camera_process = "sim_twin.camera_process"
    perceived: Perceived
    _seen: Observation

    def __init__(self, task: TaskConfig, world: str = "twin", clock: Clock | None = None) -> None:
        if isinstance(clock, SteppedClock):
            raise ConfigError("the protocol twin runs in real time: expected --pace real-time, got lockstep")
        self._scene = parse_scene(task.scene)
        self._world = self._scene.world(world)
        self.start = draw_start(Split.TRAIN, 0, 0, self._scene.starts, self._world)
        self._lost = False
        self._truth = Truth(0.0, 0.0, 0.0, success=False, failed=False)
        with ExitStack() as stack:
            folder = stack.enter_context(socket_folder())
            (folder / "task.json").write_text(task.model_dump_json(), encoding="utf-8")
            self._children = Children(folder / "logs")
            stack.callback(self._children.stop)
            endpoint = f"ipc://{folder}/twin"
            self._told = ["--task", str(folder / "task.json"), "--world", world, "--endpoint", endpoint]
            self._rpc = RpcClient(endpoint)
            stack.callback(self._rpc.close)
            address = self.begin_simulation()
            self._ask("reset", self.start)
            self.robot = FrankaRobot(driver_config(address), clock or RealClock())
            stack.callback(self.robot.close)
            self.observe()
            self._open = stack.pop_all()

    # --- Robot ---

    @property
    def spec(self) -> RobotSpec:
        return replace(self.robot.spec, name="fr3-protocol-twin")

    def observe(self) -> Observation:
        """Raises `RobotLost` once for a simulation that is gone; from then on the last observation grows old."""
        if self._lost:
            return self._seen
        seen = self.robot.observe()
        try:
            self.perceived = self._perceive()
        except RobotLost:
            self._lost = True
            raise
        believed = seen.tcp_pose + np.array([0.0, 0.0, self.start.height_error, 0.0, 0.0, 0.0, 0.0])
        self._seen = replace(
            seen,
            tcp_pose=believed,
            stamps_ns={**seen.stamps_ns, "bin_pose": self.perceived.stamp_ns},
            extra={"bin_pose": self.perceived.bin_pose},
        )
        return self._seen

    def apply(self, target: Array) -> None:
        self.robot.apply(target)

    def hold(self) -> None:
        self.robot.hold()

    def recover(self) -> None:
        self._lost = False
        self.robot.recover()

    def close(self) -> None:
        """A controlled stop, then the simulation ends."""
        self._open.close()

    # --- what only a twin has ---

    def draw(self, split: int, seed: int, episode: int) -> Start:
        """A start of this task's distribution."""
        return draw_start(split, seed, episode, self._scene.starts, self._world)

    def reset(self, start: Start) -> None:
        """Everything anew: the arm is put home by the simulation's hand, for which the driver lets go."""
        self.robot.release()
        self._ask("reset", start)
        self.start = start

    def reset_objects(self, start: Start) -> None:
        """Put the bin back, lid closed, at `start`; the arm stays where it is, as when a person does it."""
        self._ask("reset_objects", start)
        self.start = start

    @property
    def joint_positions(self) -> Array:
        """[nq]: the scene's whole configuration when it was last looked at."""
        return self.perceived.qpos

    def truth(self) -> Truth:
        """Judged from the state of the simulation, as in the fast twin; the last one of a simulation that is gone.

        That it is gone is for the guard to see, when it looks at the robot.
        """
        with suppress(RobotLost):
            header, _ = self._call("truth", {})
            self._truth = from_plain(Truth, header.get("truth"), ())
        return self._truth

    def trip(self) -> None:
        """Let the robot feel a collision: a reflex stops it."""
        self._call("trip", {})

    def begin_simulation(self) -> str:
        """Start it, anew if it has ended; its robot's address. Raises `ProcessEnded` with its last words."""
        self._children.start(SIMULATION, "sim_twin.protocol.process", self._told, restart=False)
        deadline = time.monotonic() + START_S
        while True:
            try:
                header, _ = self._rpc.call("address", timeout_s=0.2)
                return from_plain(str, header.get("address"), ())
            except DeadlineMissed:
                self._children.tend()
                if time.monotonic() > deadline:
                    raise ProcessEnded(f"the protocol twin's simulation did not begin within {START_S:g} s") from None

    def end_simulation(self) -> None:
        """Let the robot vanish without a word, as when its cable is pulled."""
        os.kill(self._children.pids[SIMULATION], signal.SIGKILL)

    # --- inside ---

    def _perceive(self) -> Perceived:
        header, (bin_pose, qpos, tcp) = self._call("perceive", {})
        stamp_ns, simulated_s = (from_plain(kind, header.get(name), ()) for kind, name in PERCEIVED)
        return Perceived(int(stamp_ns), float(simulated_s), bin_pose, qpos, tcp)

    def _ask(self, name: str, start: Start) -> None:
        self._call(name, {"start": to_plain(start, [])})

    def _call(self, name: str, header: Header) -> tuple[Header, Sequence[Array]]:
        """Raises `RobotLost` when the simulation does not answer, at once if its process has ended: it is the robot."""
        words = self._children.last_words(SIMULATION)
        if words is None:
            try:
                return self._rpc.call(name, header, timeout_s=CALL_S)
            except DeadlineMissed as error:
                words = self._children.last_words(SIMULATION) or str(error)
        raise RobotLost(f"the protocol twin's simulation: {words}")


PERCEIVED: Sequence[tuple[type[int] | type[float], str]] = ((int, "stamp_ns"), (float, "simulated_s"))


def driver_config(address: str) -> FrankaConfig:
    """The driver's settings for the twin: those of an arm of its own, at the fast twin's rates and bounds."""
    return FrankaConfig(
        address=address,
        realtime_config="ignore",
        control_hz=CONTROL_HZ,
        step_m=STEP_M,
        lead_m=LEAD_M,
        home=READY,
        gripper=GripperConfig(speed=GRIPPER_M_S, max_width=GRIPPER_MAX),
    )
