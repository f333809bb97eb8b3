"""The node `learner`: the learner's process, niced, as a node that says how it gets on."""

from __future__ import annotations

import sys
from contextlib import suppress

from robot_rl.errors import StoreError
from robot_rl.learn.__main__ import main as learn
from robot_rl.store.files import read_json
from robot_rl.store.run import RunDirectory
from robot_rl_ros.node import Live, serve_node
from robot_rl_ros.topics import Streams

PARAMETERS = {"run": (str, "the run's directory")}
PERIOD_S = 1.0
STATUS = "/learner_status"


def work(live: Live) -> int:
    """Until it is told to end; its exit status."""
    run = RunDirectory.open(live.parameters["run"])
    streams = Streams(live.node, [STATUS])

    def tell() -> None:
        with suppress(StoreError):  # before its first word there is none
            streams.say(STATUS, read_json(run.learner_json))

    live.node.create_timer(PERIOD_S, tell)
    return learn([str(run.path)])


def main() -> int:
    """Its exit status."""
    return serve_node("learner", PARAMETERS, work)


if __name__ == "__main__":
    sys.exit(main())
