"""The node `actor`: control loop and session, with the operator's services. Publishes what it commands and records."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from robot_rl.compositions.actor import recorder_of
from robot_rl.compositions.plan import RunPlan, connect_policy, open_run
from robot_rl.compositions.realtime_actor import BY_THE_WALL, GUARD_S, Others, act, answered, following
from robot_rl.errors import RobotRLError
from robot_rl.services.guard import GuardClient
from robot_rl.services.store import StoreClient
from robot_rl.store.ros import STEPS
from robot_rl_ros.diagnostics import diagnose
from robot_rl_ros.heard import Heard
from robot_rl_ros.node import Live, Parameter, serve_node
from robot_rl_ros.operator_services import OperatorServices
from robot_rl_ros.own import CHUNKS, EPISODE_STATE, Own
from robot_rl_ros.simulated import followed
from robot_rl_ros.told import SessionTold
from robot_rl_ros.topics import COMMAND, Streams

PARAMETERS: Mapping[str, Parameter] = {
    "run": (str, "the run's directory"),
    "store": (str, "endpoint of the store's calls, e.g. ipc:///run/store"),
    "guard": (str, "endpoint of the guard's calls"),
    "actor": (str, "endpoint to serve the page's calls on"),
    "episodes": (int, "labelled episodes that the run is to have in the end", (1, 1_000_000)),
    "auto_label": (False, "the twin's truth labels, and nobody has to be there; a twin alone accepts it"),
    "page": (False, "there is a page on which a person can clear a STOP"),
    "base_success": (-1.0, "0 to 1, of the frozen policy alone, for the page; below 0: not measured", (-1.0, 1.0)),
    "base_trials": (0, "trials in which that was measured", (0, 1_000_000)),
    "frames": ("", "endpoint on which the cameras publish JPEG frames; empty: there are none"),
    "policy": ("", "endpoint of a policy server; empty: the run's own policy, in this process"),
    "policy_keys": ("", "key file for a policy server that has keys"),
    "lockstep": (False, "follow the robot's simulated time on /clock, and wait for the adapter that is due"),
}
TOPICS = (COMMAND, STEPS, "/held", "/rejected", "/state")
INTERRUPTED = 130


class Interrupted(RobotRLError):
    """It was told to end before the run is done."""


def work(live: Live) -> int:
    """Until the last episode is labelled: 0; or until it is told to end."""
    values, streams, own = live.parameters, Streams(live.node, TOPICS), Own(live.node, CHUNKS, EPISODE_STATE)
    watch, seen = SessionTold(streams, own), set[str]()
    clock = followed(live.node) if values["lockstep"] else None

    def tend() -> None:
        if live.stopping.is_set():
            raise Interrupted

    def learner_alive() -> bool:
        """Seen in the graph; until it has been for the first time, nothing is said against it."""
        nodes = live.node.get_node_names_and_namespaces()
        found = ("learner", live.node.get_namespace()) in nodes
        seen.update({"learner"} if found else ())
        return found or "learner" not in seen

    with ExitStack() as stack:
        run, info, task, local = open_run(Path(values["run"]))
        keys = Path(values["policy_keys"]) if values["policy_keys"] else None
        policy = connect_policy(values["policy"] or None, local, keys)
        port = 0 if values["page"] else None
        success, trials = values["base_success"], values["base_trials"]
        base = {"base_success": success, "base_trials": trials} if success >= 0 else {}
        plan = RunPlan(run, info, task, policy, values["episodes"], values["auto_label"], port, **base)
        store = StoreClient(values["store"])
        stack.callback(store.close)
        stack.callback(OperatorServices(live.node, values["actor"]).close)
        try:
            answered(store.episodes, tend)
            guard = answered(lambda: GuardClient(values["guard"], GUARD_S, connect_timeout_s=1.0, clock=clock), tend)
            stack.callback(guard.close)
            recorder = Heard(recorder_of(plan, store), streams, own)
            diagnose(live.node, lambda: watch.health(dict(recorder.verdicts)))
            others, pace = Others(tend, learner_alive), following(clock) if clock else BY_THE_WALL
            act(plan, guard, store, values["actor"], others, watch, recorder, values["frames"] or None, pace)
        except RobotRLError:  # of others that have been told to end too, and were faster
            if live.stopping.is_set():
                return INTERRUPTED
            raise
    return 0


def main() -> int:
    """Its exit status."""
    return serve_node("actor", PARAMETERS, work)


if __name__ == "__main__":
    sys.exit(main())
