"""The node `recorder`: the one process that writes a run's episodes and labels."""

from __future__ import annotations

import sys

from robot_rl.compositions.store_process import serve
from robot_rl.store.run import RunDirectory
from robot_rl_ros.node import Live, serve_node

PARAMETERS = {
    "run": (str, "the run's directory"),
    "store": (str, "endpoint of the store's calls, e.g. ipc:///run/store"),
    "frames": (str, "endpoint on which the cameras publish JPEG frames, empty where there are none"),
}


def work(live: Live) -> None:
    """Until it is told to end; an episode that is open then is set aside as incomplete."""
    values = live.parameters
    serve(RunDirectory.open(values["run"]), values["store"], values["frames"] or None, live.stopping)


def main() -> int:
    """Its exit status."""
    return serve_node("recorder", PARAMETERS, work)


if __name__ == "__main__":
    sys.exit(main())
