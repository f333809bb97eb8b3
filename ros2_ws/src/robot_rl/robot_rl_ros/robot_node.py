"""The node `robot`: the guard, and the robot behind it. Publishes what the robot reports; `~/stop` is the guard's STOP.

A controlled stop, and not a safety function. Commands come over the guard's own socket, with their safety epochs. In
lockstep this node's time is the simulated one, which it publishes on /clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from std_srvs.srv import Trigger

from robot_rl.clock import RealClock, SteppedClock
from robot_rl.compositions.guard_process import serve
from robot_rl.errors import RobotFault
from robot_rl.safety.guard import Guard
from robot_rl.store.ros import streams_of
from robot_rl.store.run import RunDirectory
from robot_rl_ros.diagnostics import diagnose
from robot_rl_ros.health import Health, Rate, robot_health
from robot_rl_ros.lifecycle import keep_still
from robot_rl_ros.node import Live, serve_node
from robot_rl_ros.simulated import SimulatedTime
from robot_rl_ros.topics import Streams

PARAMETERS = {
    "run": (str, "the run's directory"),
    "guard": (str, "endpoint of the guard's calls, e.g. ipc:///run/guard"),
    "states": (str, "endpoint on which a twin's joint positions are published, for its cameras"),
    "lockstep": (False, "a twin's time is simulated, and waits for whoever is late; else it is the wall's"),
}
TOPICS = ("/joint_states", "/tcp_pose", "/gripper_width", "/safety")


def work(live: Live) -> None:
    """Until it is told to end; the robot holds then."""
    values, streams = live.parameters, Streams(live.node, TOPICS)
    stepped = SteppedClock() if values["lockstep"] else None
    clock, simulated = stepped or RealClock(), stepped and SimulatedTime(live.node, stepped)

    def begun(guard: Guard) -> Callable[[], None]:
        def stop(request: Any, response: Any) -> Any:
            safety = guard.stop("a ROS node", "STOP by the service ~/stop")
            response.success, response.message = True, f"{safety.level.name}, epoch {safety.epoch}"
            return response

        def health() -> Health:
            now, wanted_hz = clock.now_ns(), guard.spec.control_hz
            rate_hz = wanted_hz if simulated else periods.per_s(now)  # a simulated time moves by its periods alone
            return robot_health(guard.safety, wanted_hz, rate_hz, now - newest_ns[0])

        live.node.create_service(Trigger, "~/stop", stop)
        diagnose(live.node, health)
        return lambda: show(guard)

    periods, newest_ns = Rate(clock.now_ns()), [clock.now_ns()]
    told: list[tuple[str, ...]] = []

    def show(guard: Guard) -> None:
        periods.tick()
        if simulated:
            simulated.tell()
        keep_still(guard, live.active())
        with suppress(RobotFault):  # latched by the guard, and shown as such
            seen = guard.observe()
            newest_ns[0] = stamp_ns = seen.stamps_ns["robot"]
            reported = {"q": seen.q.tolist(), "tcp_pose": seen.tcp_pose.tolist(), "gripper_width": seen.gripper_width}
            for topic, message in streams_of(stamp_ns if simulated else streams.ros_time(stamp_ns), reported):
                streams.publish(topic, message)
        safety = guard.safety
        causes = (safety.level.name, *(cause.id for cause in safety.causes))
        if told != [causes]:
            told[:] = [causes]
            reasons = [{"id": c.id, "kind": c.kind, "detail": c.detail} for c in safety.causes]
            streams.say("/safety", {"level": safety.level.name, "epoch": safety.epoch, "causes": reasons})

    serve(RunDirectory.open(values["run"]), values["guard"], values["states"], live.stopping, begun, clock)


def main() -> int:
    """Its exit status."""
    return serve_node("robot", PARAMETERS, work, managed=True)


if __name__ == "__main__":
    sys.exit(main())
